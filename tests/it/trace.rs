//! `tcptrace trace`: every transition, complete, in order, with its time.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::churn::{LISTENER_TRANSITIONS, TRANSITIONS, churn};
use crate::support::clock;
use crate::support::compare::{Comparison, number, text};
use crate::support::connections::{Connections, Life, is_being_made};
use crate::support::tracer::{Tracer, until_unskipped};
use crate::support::{Backend, free_port};

const CONNECTIONS: u64 = 50;

on_both_backends! {
    every_transition_of_ipv4_connections_is_told_once_in_order_and_timed,
    every_transition_of_ipv6_connections_is_told_once_in_order_and_timed,
}

live_tests! {
    both_backends_tell_the_same_transitions,
    connections_of_one_mptcp_listener_are_told_apart,
}

fn every_transition_of_ipv4_connections_is_told_once_in_order_and_timed(backend: Backend) {
    every_transition(backend, 4);
}

fn every_transition_of_ipv6_connections_is_told_once_in_order_and_timed(backend: Backend) {
    every_transition(backend, 6);
}

fn every_transition(backend: Backend, family: u8) {
    let (port, bracket, program, session) = until_unskipped(|| {
        let port = free_port();
        let tracer = Tracer::start(backend, &["trace", "--port", &port.to_string()]);
        let before = clock::monotonic_ns();
        let program = churn(CONNECTIONS, port, family);
        let after = clock::monotonic_ns();
        let session = tracer.stop();
        session.is_unskipped().then_some((port, before..=after, program, session))
    });
    let summary = session.summary();

    let expected = CONNECTIONS * TRANSITIONS + LISTENER_TRANSITIONS;
    let transitions: Vec<&Value> =
        session.records.iter().filter(|record| record["type"] == "transition").collect();
    assert_eq!(transitions.len() as u64, expected, "transitions behind port {port}");
    assert_eq!(summary["records"], expected, "records in {summary}");
    for field in ["lost", "undecodable", "evicted", "unattributed"] {
        assert_eq!(summary[field], 0, "{field} in {summary}");
    }
    for transition in &transitions {
        check_fields(transition, family, bracket.clone(), program);
    }

    let connections = Connections::behind(port, &session.records);
    connections.check(CONNECTIONS.try_into().unwrap());
    if backend == Backend::Btf {
        let own = |life: &Life| {
            let step = life.steps.iter().find(|step| !is_being_made(step)).expect("steps of its own");
            number(step, "cookie")
        };
        let cookies: HashSet<u64> = connections.lives().map(own).collect();
        assert_eq!(cookies.len() as u64, 2 * CONNECTIONS, "each socket has a cookie of its own");
    }
}

fn check_fields(transition: &Value, family: u8, bracket: std::ops::RangeInclusive<u64>, program: i32) {
    let mut comparison = Comparison::of("a transition");
    let at = number(transition, "ktime_ns");
    comparison.within("ktime_ns", at, &bracket);
    let wall = clock::monotonic_of(text(transition, "time"));
    comparison.holds(wall.abs_diff(at) < clock::conversion_ns(), || {
        format!("time: is {wall} in CLOCK_MONOTONIC, and ktime_ns is {at}")
    });
    comparison.field(transition, "family", family);
    comparison.field(transition, "netns", own_netns());
    comparison.present(transition, "cookie");
    comparison.present(transition, "dwell_ns");
    for field in ["pid", "tid", "comm"] {
        comparison.present(&transition["oncpu"], field);
    }
    // A transition in a process's own system call happens while it is on the CPU. The others happen when a packet
    // arrives, and then any process may be running.
    let steps = [("CLOSE", "SYN_SENT"), ("ESTABLISHED", "FIN_WAIT1"), ("CLOSE_WAIT", "LAST_ACK")];
    if steps.contains(&(text(transition, "old_state"), text(transition, "new_state"))) {
        comparison.field(&transition["oncpu"], "pid", program);
        comparison.field(&transition["oncpu"], "tid", program);
        comparison.field(&transition["oncpu"], "comm", "churn");
    }
    comparison.finish(&[transition]);
}

fn own_netns() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self/ns/net").unwrap().ino()
}

fn both_backends_tell_the_same_transitions() {
    let ports = [free_port(), free_port()];
    let arguments = ["trace", "--port", &ports[0].to_string(), "--port", &ports[1].to_string()];
    let tracers = Backend::ALL.map(|backend| Tracer::start(backend, &arguments));
    churn(CONNECTIONS, ports[0], 4);
    churn(CONNECTIONS, ports[1], 6);
    let [btf, tracepoint] = tracers.map(|tracer| {
        let session = tracer.stop();
        session.summary();
        let mut transitions: Vec<String> = session.records.iter().filter_map(identify).collect();
        transitions.sort();
        transitions
    });
    let only = |left: &[String], right: &[String]| -> Vec<String> {
        let right: HashSet<&String> = right.iter().collect();
        left.iter().filter(|one| !right.contains(one)).take(10).cloned().collect()
    };
    assert_eq!(
        btf,
        tracepoint,
        "only btf has {:?}; only tracepoint has {:?}",
        only(&btf, &tracepoint),
        only(&tracepoint, &btf)
    );
    assert_eq!(btf.len() as u64, 2 * (CONNECTIONS * TRANSITIONS + LISTENER_TRANSITIONS));
}

fn identify(record: &Value) -> Option<String> {
    let fields = ["family", "laddr", "lport", "raddr", "rport", "old_state", "new_state"];
    (record["type"] == "transition")
        .then(|| fields.map(|field| format!("{field} {}", record[field])).join(", "))
}

/// All connections of an MPTCP listener inherit its cookie if it has one, and asking for its cookie gives it one.
fn connections_of_one_mptcp_listener_are_told_apart() {
    let socket = || {
        Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP))
            .expect("an MPTCP socket (CONFIG_MPTCP, net.mptcp.enabled)")
    };
    let port = free_port().to_string();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse::<u16>().unwrap()));
    let trace = Tracer::start(Backend::Btf, &["trace", "--port", &port]);
    let leaks = Tracer::start(Backend::Btf, &["leaks", "--port", &port, "--older-than", "0s"]);
    let listener = socket();
    listener.bind(&address.into()).unwrap();
    listener.listen(8).unwrap();
    let accepted: Vec<Socket> = (0..3)
        .map(|_| {
            let client = socket();
            client.connect(&address.into()).unwrap();
            listener.accept().unwrap().0
        })
        .collect();
    let leaking = leaks.wait("three leaks", |records| {
        let found: HashSet<u64> = records
            .iter()
            .filter(|record| record["type"] == "leak")
            .map(|record| number(record, "cookie"))
            .collect();
        (found.len() == accepted.len()).then_some(found)
    });
    drop(listener);
    let records = trace.stop().records;
    let of_listener = |record: &&Value| record["old_state"] == "CLOSE" && record["new_state"] == "LISTEN";
    let listening = records.iter().find(of_listener).expect("the transition to LISTEN");
    assert_eq!(listening["cookie"], Value::Null, "{listening}");
    assert_eq!(listening["mptcp"], true, "{listening}");
    let cookies: HashSet<u64> = accepted.iter().map(|socket| socket.cookie().unwrap()).collect();
    assert_eq!(leaking, cookies);
    leaks.stop();
}
