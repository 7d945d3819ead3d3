//! Node.js: a server that keeps half-open sockets, and a client whose event loop never comes back.

use std::process::Command;

use rustix::process::Signal;

use crate::support::judge::judge;
use crate::support::stage::{Stage, app};
use crate::support::truth::Truth;
use crate::support::{connect, free_port, kernel, processes, request, until, until_listens};

scenes! {
    node_half_open_server,
    node_half_open_beside_another,
    node_agent_behind_a_busy_loop,
    node_listener_behind_a_busy_loop,
}

fn node_half_open_server() {
    let (stage, port) = (Stage::new(), free_port());
    let node = stage.start("node", Command::new("node").arg(app("half_open.js")).arg(port.to_string()));
    drop(connect(port));
    judge(&[Truth::accepted("node, allowHalfOpen without end()", port)
        .owners(&[node])
        .verdict(&["eof_read"])
        .first(&["client_left"])
        .never(&["old_generation", "spins_on_eof", "holder_running", "waits_for_other_leg"])]);
}

fn node_half_open_beside_another() {
    let stage = Stage::new();
    let [port, backend] = [(); 2].map(|()| free_port());
    stage.python("backend", &[&backend.to_string()]);
    until_listens(backend);
    let mut command = Command::new("node");
    command.arg(app("half_open.js")).args([port.to_string(), backend.to_string()]);
    let node = stage.start("node", &mut command);
    // It has shut that one down, for reasons of its own, long before a client comes.
    stage.until_says("node", "shut down");
    let other = format!("dport = :{backend}");
    let is_old = || kernel::quiet_ms(&other).is_some_and(|ms| ms > 3_000);
    until("the shutdown is seconds old", is_old, || kernel::shown(None, &other));
    drop(connect(port));
    judge(&[Truth::accepted("node, half-open beside an unrelated shutdown", port)
        .owners(&[node])
        .verdict(&["eof_read"])
        .first(&["client_left"])
        .never(&["waits_for_other_leg", "old_generation", "spins_on_eof"])]);
}

fn node_agent_behind_a_busy_loop() {
    let (stage, port) = (Stage::new(), free_port());
    let server = stage.python("keep_alive_server", &[&port.to_string()]);
    until_listens(port);
    let node = stage.start("node", Command::new("node").arg(app("busy_agent.js")).arg(port.to_string()));
    stage.until_says("node", "computing");
    processes::send(server, Signal::TERM);
    judge(&[Truth::connected("node, agent behind a busy loop", port)
        .owners(&[node])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        // The agent would close it at once, if its loop came back; a tool sees both.
        .first(&["idle_in_pool", "holder_running"])
        .also(&["holder_running"])
        .number("holder_running", "pid", node)
        .never(&["spins_on_eof", "holder_stopped", "holder_sleeping"])]);
}

fn node_listener_behind_a_busy_loop() {
    let (stage, port) = (Stage::new(), free_port());
    let node = stage.start("node", Command::new("node").arg(app("busy_server.js")).arg(port.to_string()));
    let _computed_for = request(port, "/");
    stage.until_says("node", "computing");
    drop(connect(port));
    // It does accept, when it gets round to it.
    judge(&[Truth::accepted("node, listener behind a busy loop", port)
        .owners(&[node])
        .unread(1..=1)
        .verdict(&["never_accepted"])
        .first(&["holder_running", "accept_queue"])
        .also(&["holder_running", "accept_queue"])
        .number("holder_running", "pid", node)
        .never(&["nobody_accepts", "no_descriptors_left", "spins_on_eof", "holder_sleeping"])]);
}
