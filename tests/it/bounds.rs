//! The tool counts what it has no room for, and loses nothing else.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::churn::{LISTENER_TRANSITIONS, TRANSITIONS, churn};
use crate::support::compare::number;
use crate::support::leaky::Leaky;
use crate::support::tracer::{Tracer, one_complete_run};
use crate::support::{Backend, free_port};

on_both_backends! {
    records_that_find_the_ring_full_are_counted_as_lost,
    records_that_find_the_buffer_of_their_cpu_full_are_counted_as_lost,
    sockets_that_find_the_table_full_are_counted_as_evicted,
}

const CONNECTIONS: u64 = 20_000;

fn records_that_find_the_ring_full_are_counted_as_lost(backend: Backend) {
    each_is_told_or_counted_as_lost(backend, "ring");
}

fn records_that_find_the_buffer_of_their_cpu_full_are_counted_as_lost(backend: Backend) {
    each_is_told_or_counted_as_lost(backend, "perf");
}

fn each_is_told_or_counted_as_lost(backend: Backend, transport: &str) {
    let expected = CONNECTIONS * TRANSITIONS + LISTENER_TRANSITIONS;
    one_complete_run(3, || {
        let (records, lost) = told_and_lost(backend, transport);
        let is_complete = records + lost == expected;
        is_complete.then_some(()).ok_or_else(|| format!("{records} reported and {lost} lost, of {expected}"))
    });
}

/// How many transitions of a storm were reported, and how many lost.
fn told_and_lost(backend: Backend, transport: &str) -> (u64, u64) {
    let port = free_port().to_string();
    let arguments = ["trace", "--ring-size", "64K", "--transport", transport, "--port", &port];
    let tracer = Tracer::start(backend, &arguments);
    tracer.signal(Signal::STOP);
    churn(CONNECTIONS, port.parse().unwrap(), 4);
    tracer.signal(Signal::CONT);
    let session = tracer.stop();
    let summary = session.summary_with(4);
    let (records, lost) = (number(summary, "records"), number(summary, "lost"));
    assert!(lost > 0, "nothing was lost: either the tool was not stopped, or the ring is larger: {summary}");
    let transitions = session.records.iter().filter(|record| record["type"] == "transition").count();
    assert_eq!(transitions as u64, records, "transitions that were reported, and `records` of the summary");
    assert_eq!(summary["undecodable"], 0, "{summary}");
    (records, lost)
}

fn sockets_that_find_the_table_full_are_counted_as_evicted(backend: Backend) {
    const LEAKED: usize = 20;
    const ROOM: usize = 5;
    let arguments = ["leaks", "--older-than", "0s", "--max-sockets", &ROOM.to_string()];
    let tracer = Tracer::start(backend, &arguments);
    let mut leaky = Leaky::start("accepted_kept", &["--count", &LEAKED.to_string()]);
    // The sockets leave too, which must not be counted again.
    leaky.close();
    let session = tracer.stop();
    let evicted = number(session.summary_with(4), "evicted");
    assert!(evicted >= (LEAKED - ROOM) as u64, "evicted: expected {} at least, is {evicted}", LEAKED - ROOM);
    let mentioned = |truth: &&crate::support::truth::Truth| {
        session.records.iter().any(|record: &Value| truth.is_about(record))
    };
    let mentioned = leaky.truths.iter().filter(mentioned).count();
    assert!(mentioned <= ROOM, "{mentioned} sockets are reported, and there was room for {ROOM}");
}

#[test]
fn a_million_sockets_take_less_than_175_megabytes() {
    // 166.7 MB were measured, optimised or not. `cargo xtask bench` measures what the rest of the program needs.
    const MOST_BYTES: u64 = 175_000_000;
    let output = std::process::Command::new(crate::support::example("million")).arg("1000000").output();
    let output = output.expect("the example `million` runs");
    let memory: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    assert_eq!(memory["sockets"], 1_000_000);
    let size = |field: &str| memory[field].as_u64().expect("a size in bytes");
    let taken = size("after_bytes") - size("before_bytes");
    assert!(taken < MOST_BYTES, "a million sockets take {taken} bytes");
}
