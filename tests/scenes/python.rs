//! Python's own servers: an event loop that spins on the end of a connection, and one without free descriptors.

use std::process::Command;

use crate::support::judge::judge;
use crate::support::processes::only_child;
use crate::support::stage::{PYTHON, Stage};
use crate::support::truth::Truth;
use crate::support::{connect, free_port, request, until_listens};

scenes! {
    asyncio_spins,
    asyncio_spins_on_a_busy_host,
    multiprocessing_inherits_a_connection,
    http_server_without_descriptors,
}

fn asyncio_spins() {
    spins("asyncio, reader ignores the end", &Stage::new());
}

fn asyncio_spins_on_a_busy_host() {
    let stage = Stage::new();
    stage.keep_processors_busy();
    spins("asyncio, likewise on a busy host", &stage);
}

fn spins(scene: &'static str, stage: &Stage) {
    let port = free_port();
    let server = stage.python("asyncio_spin", &[&port.to_string()]);
    drop(connect(port));
    judge(&[Truth::accepted(scene, port)
        .owners(&[server])
        .verdict(&["eof_read"])
        .first(&["spins_on_eof"])
        .number("spins_on_eof", "pid", server)
        .never(&["holder_stopped", "old_generation"])]);
}

fn multiprocessing_inherits_a_connection() {
    let (stage, port) = (Stage::new(), free_port());
    let parent = stage.python("inheritor", &[&port.to_string()]);
    let client = request(port, "/");
    stage.until_says("inheritor", "ready");
    let child = only_child(parent, &[]);
    drop(client);
    // Its parent has read everything and closed it.
    judge(&[Truth::accepted("multiprocessing, inherited connection", port)
        .owners(&[child])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["client_left"])
        .never(&["old_generation", "waits_for_other_leg"])]);
}

fn http_server_without_descriptors() {
    const LIMIT: usize = 10;
    let (stage, port) = (Stage::new(), free_port());
    let limit = format!("--nofile={LIMIT}");
    let arguments = [&*limit, PYTHON, "-m", "http.server", "--bind", "127.0.0.1", &port.to_string()];
    let server = stage.start("http.server", Command::new("prlimit").args(arguments));
    until_listens(port);
    // Each takes a descriptor, as long as there are some.
    let _waiting: Vec<_> = (0..LIMIT).map(|_| connect(port)).collect();
    drop(connect(port));
    judge(&[Truth::accepted("http.server, no descriptors left", port)
        .owners(&[server])
        .unread(1..=1)
        .verdict(&["never_accepted"])
        .first(&["no_descriptors_left"])
        .also(&["holder_running"])
        .number("no_descriptors_left", "limit", LIMIT)
        .never(&["nobody_accepts", "holder_sleeping"])]);
}
