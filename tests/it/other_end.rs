//! The other end of a connection, where it is a socket of this host: who waits for an answer is told from who has
//! closed, and one connection from another with the same addresses.

use std::net::IpAddr;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::clear::{Clear, clear};
use crate::support::far_host::FarHost;
use crate::support::leaky::Leaky;
use crate::support::netns::Netns;
use crate::support::process::Process;
use crate::support::reconnection::{Connection, Listener, receive, state};
use crate::support::run::run;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;
use crate::support::{Backend, is_about_to_execute};

on_both_backends! {
    an_awaited_answer_becomes_a_leak_when_nobody_waits_any_more,
}

live_tests! {
    clear_spares_who_is_waited_for_until_nobody_waits,
    whoever_shut_down_both_ways_waits_for_nothing,
    the_other_end_is_found_in_another_network_namespace,
    two_namespaces_with_the_same_addresses_are_not_mixed_up,
    of_a_peer_elsewhere_nothing_is_claimed,
    every_state_has_another_end,
}

const CLOSE_WAIT: u8 = 8;

/// The one record about a socket, of one look at its namespace.
fn look(truth: &Truth, arguments: &[&str]) -> Value {
    let (netns, lport) = (truth.netns.to_string(), truth.lport.to_string());
    let typed = ["now", "--format", "jsonl", "--netns", &netns, "--lport", &lport];
    let found = Clear::from(run(&[&typed[..], arguments].concat()));
    let records = truth.records("leak", &found.records);
    let [record] = records[..] else { panic!("{}: {records:?}", truth.name()) };
    record.clone()
}

/// The verdict, and of the other end: the state, whether it is closed, and who holds it.
fn told(record: &Value) -> Value {
    let end = &record["other_end"];
    let pids = |owners: &Vec<Value>| {
        let pids = owners.iter().map(|owner| owner["pid"].clone());
        pids.filter(|pid| !is_about_to_execute(pid)).collect::<Vec<_>>()
    };
    let pids = end["owners"].as_array().map(pids);
    json!([record["verdict"], end["state"], end["closed"], pids])
}

fn own_pid() -> u32 {
    std::process::id()
}

fn an_awaited_answer_becomes_a_leak_when_nobody_waits_any_more(backend: Backend) {
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s"]);
    let awaited = Leaky::start("half_closed_awaited", &[]);
    let truth = awaited.truth();
    // Sockets are looked at in the order in which they entered CLOSE_WAIT, and again after a while.
    for _ in 0..2 {
        let later = Leaky::start("accepted_kept", &[]);
        tracer.wait_for_each("leak", &later.truths);
    }
    let told = tracer.wait("records", |records| Some(truth.records("leak", records).len()));
    assert_eq!(told, 0, "its peer waits for the answer");
    kill_process(Pid::from_raw(truth.peer_pid).unwrap(), Signal::KILL).expect("the peer is there");
    let leak = tracer.wait_for_each("leak", &awaited.truths).remove(0);
    let end = &leak["other_end"];
    assert_eq!((&leak["verdict"], &end["closed"]), (&"eof_read".into(), &true.into()), "{leak}");
    tracer.stop().summary();
}

fn clear_spares_who_is_waited_for_until_nobody_waits() {
    let connection = Listener::new().connect_from(0);
    connection.half_close();
    let truths = [connection.truth()];
    let spared = clear(&truths, &["--older-than", "0s", "--yes"]);
    assert_eq!(spared.ran.code, Some(0), "{}", spared.ran.messages);
    assert!(spared.records.iter().all(|record| record["type"] != "cleared"), "{}", spared.ran.output);
    let typed = ["clear", "--older-than", "0s", "--rport", &truths[0].rport.to_string()];
    let plan = run(&typed).output;
    assert!(plan.contains("1 socket, half-closed and still used or waited for"), "{plan}");
    assert_eq!(state(&connection.near), CLOSE_WAIT);
    connection.near.send(b"x").expect("the answer");
    assert_eq!(receive(&connection.far), Ok(1), "who waits gets it");

    let named = clear(&truths, &["--older-than", "0s", "--verdict", "half_open"]);
    assert_eq!(named.outcome(&truths[0]), ("dry_run", Some(0)), "{}", named.ran.messages);
    let waiting = json!(["half_open", "FIN_WAIT2", false, [own_pid()]]);
    assert_eq!(told(named.record(&truths[0])), waiting);
    let Connection { near, far } = connection;
    drop(far);
    // The answer that was sent a moment ago does not excuse it.
    let verdict = |record: &Value| record["verdict"] == "eof_read";
    crate::support::until("nothing was sent lately", || verdict(&look(&truths[0], &[])));
    let gone = clear(&truths, &["--older-than", "0s", "--yes"]);
    assert_eq!(gone.outcome(&truths[0]), ("gone", Some(0)), "{}", gone.ran.messages);
    assert_eq!(gone.record(&truths[0])["other_end"]["closed"], true);
    drop(near);
}

fn whoever_shut_down_both_ways_waits_for_nothing() {
    let Connection { near, far } = Listener::new().connect_from(0);
    far.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(receive(&near), Ok(0), "the end of file");
    let truth = Truth::of("connection", &near);
    assert_eq!(told(&look(&truth, &[])), json!(["eof_read", "FIN_WAIT2", false, [own_pid()]]));
}

/// Two namespaces, each with a process in it, and a link between them.
struct Linked {
    server: Netns,
    client: Netns,
    _inhabitants: [Process; 2],
}

impl Linked {
    const SERVER: &str = "10.77.1.1";
    const CLIENT: &str = "10.77.1.2";

    fn new() -> Self {
        let (server, client) = (Netns::new(), Netns::new());
        let inhabitants = [&server, &client].map(Netns::inhabitant);
        let client_pid = inhabitants[1].pid();
        server.ip(&format!("link add left type veth peer name right netns {client_pid}"));
        for (netns, name, address) in [(&server, "left", Self::SERVER), (&client, "right", Self::CLIENT)] {
            netns.ip(&format!("address add {address}/24 dev {name}"));
            netns.ip(&format!("link set {name} up"));
        }
        Self { server, client, _inhabitants: inhabitants }
    }

    /// A connection across the link, and the truth about the server's end.
    fn connect(&self) -> (Connection, Truth) {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let listener = self.server.within(|| Listener::at(ip(Self::SERVER)));
        let far = self.client.within(|| listener.dial_from(ip(Self::CLIENT), 0));
        let connection = listener.accept(far);
        let truth = Truth { netns: self.server.inode(), ..connection.truth() };
        (connection, truth)
    }
}

fn the_other_end_is_found_in_another_network_namespace() {
    let linked = Linked::new();
    let (connection, truth) = linked.connect();
    connection.half_close();
    let waiting = json!(["half_open", "FIN_WAIT2", false, [own_pid()]]);
    assert_eq!(told(&look(&truth, &[])), waiting);
    let shown = run(&["now", "--netns", &truth.netns.to_string()]).output;
    assert!(shown.contains("OTHER END") && shown.contains(&format!("({})", own_pid())), "{shown}");
    let Connection { near: _near, far } = connection;
    drop(far);
    // Of a socket that nobody holds, the own namespace alone is asked.
    let leak = look(&truth, &[]);
    assert_eq!((&leak["verdict"], &leak["other_end"]), (&"eof_read".into(), &Value::Null), "{leak}");
}

fn two_namespaces_with_the_same_addresses_are_not_mixed_up() {
    const PORT: u16 = 7_001;
    const CLIENT: u16 = 7_002;
    let namespaces = [(); 2].map(|()| Netns::new());
    let _inhabitants = namespaces.each_ref().map(Netns::inhabitant);
    let [closed, waiting] = namespaces.each_ref().map(|netns| {
        let connection = netns.within(|| Listener::on_port(PORT).connect_from(CLIENT));
        connection.half_close();
        let truth = Truth { netns: netns.inode(), ..connection.truth() };
        assert_eq!((truth.lport, truth.rport), (PORT, CLIENT));
        (connection, truth)
    });
    let (Connection { near: _near, far }, closed) = closed;
    drop(far);
    for source in ["iterator", "proc"] {
        let arguments = ["--holders", source];
        let told_of = |truth| told(&look(truth, &arguments));
        assert_eq!(told_of(&waiting.1), json!(["half_open", "FIN_WAIT2", false, [own_pid()]]), "{source}");
        assert_eq!(told_of(&closed), json!(["eof_read", "FIN_WAIT2", true, []]), "{source}");
    }
}

fn of_a_peer_elsewhere_nothing_is_claimed() {
    let host = FarHost::new();
    let connection = host.netns.within(|| Listener::of_far_clients().connect_from(0));
    connection.half_close();
    let truth = Truth { netns: host.netns.inode(), ..connection.truth() };
    let leak = look(&truth, &[]);
    assert_eq!((&leak["verdict"], &leak["other_end"]), (&"eof_read".into(), &Value::Null), "{leak}");
    let planned = clear(std::slice::from_ref(&truth), &["--older-than", "0s"]);
    assert_eq!(planned.outcome(&truth), ("dry_run", Some(0)), "{}", planned.ran.messages);
    assert_eq!(planned.record(&truth)["other_end"], Value::Null);
}

fn every_state_has_another_end() {
    let connection = Listener::new().connect_from(0);
    let truth = connection.truth();
    let established = look(&truth, &["--state", "ESTABLISHED"]);
    assert_eq!(told(&established), json!([null, "ESTABLISHED", false, [own_pid()]]));
    connection.half_close();
    let flipped = Truth { lport: truth.rport, rport: truth.lport, cookie: None, ..truth.clone() };
    let waiting = look(&flipped, &["--state", "FIN_WAIT2"]);
    assert_eq!(told(&waiting), json!([null, "CLOSE_WAIT", false, [own_pid()]]));
}
