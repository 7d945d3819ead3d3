//! A socket that its opener keeps open, from its beginning to its end: every field is compared.

use serde_json::{Value, json};

use crate::support::compare::{Comparison, number, text};
use crate::support::leaky::Leaky;
use crate::support::tracer::{Tracer, lost_for_room};
use crate::support::truth::Truth;
use crate::support::{Backend, clock, facts};

const COUNT: &str = "3";

on_both_backends! {
    accepted_and_kept_ipv4_sockets_are_reported_with_their_holder_and_their_end,
    accepted_and_kept_ipv6_sockets_are_reported_with_their_holder_and_their_end,
    accepted_and_kept_v4_mapped_sockets_are_reported_with_their_holder_and_their_end,
    connected_and_kept_ipv4_sockets_are_reported_with_their_holder_and_their_end,
    connected_and_kept_ipv6_sockets_are_reported_with_their_holder_and_their_end,
    connected_and_kept_v4_mapped_sockets_are_reported_with_their_holder_and_their_end,
}

live_tests! {
    a_trace_with_owners_tells_transitions_and_leaks_of_the_same_sockets,
}

fn accepted_and_kept_ipv4_sockets_are_reported_with_their_holder_and_their_end(backend: Backend) {
    follow("accepted_kept", "4", backend);
}

fn accepted_and_kept_ipv6_sockets_are_reported_with_their_holder_and_their_end(backend: Backend) {
    follow("accepted_kept", "6", backend);
}

fn accepted_and_kept_v4_mapped_sockets_are_reported_with_their_holder_and_their_end(backend: Backend) {
    follow("accepted_kept", "mapped", backend);
}

fn connected_and_kept_ipv4_sockets_are_reported_with_their_holder_and_their_end(backend: Backend) {
    follow("connect_kept", "4", backend);
}

fn connected_and_kept_ipv6_sockets_are_reported_with_their_holder_and_their_end(backend: Backend) {
    follow("connect_kept", "6", backend);
}

fn connected_and_kept_v4_mapped_sockets_are_reported_with_their_holder_and_their_end(backend: Backend) {
    follow("connect_kept", "mapped", backend);
}

/// Follows sockets from the leak to its end and to the summary.
fn follow(case: &str, family: &str, backend: Backend) {
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "2s"]);
    let mut leaky = Leaky::start(case, &["--family", family, "--count", COUNT]);
    let truths = leaky.truths.clone();
    for (truth, leak) in truths.iter().zip(tracer.wait_for_each("leak", &truths)) {
        let mut comparison = Comparison::of(format!("leak of {}", truth.name()));
        comparison.leak(&leak, truth);
        comparison.within("close_wait_ns", number(&leak, "close_wait_ns"), &(2_000_000_000..=u64::MAX));
        comparison.finish(&[&leak]);
    }
    let closed = leaky.close();
    for (truth, end) in truths.iter().zip(tracer.wait_for_each("leak_end", &truths)) {
        compare_end(&end, truth, closed);
    }
    let holder = truths[0].holders[0].pid;
    let (fds_used, fds_limit) = facts::descriptors(holder);
    let session = tracer.stop();
    let summary = session.summary();
    for truth in &truths {
        for kind in ["leak", "leak_end"] {
            let count = truth.records(kind, &session.records).len();
            assert_eq!(count, 1, "records of type {kind} about {}", truth.name());
        }
    }
    nothing_about_peers(&truths, &session.records);
    let process = summary["processes"].as_array().unwrap().iter().find(|process| process["pid"] == holder);
    let process = process.unwrap_or_else(|| panic!("pid {holder} is not in the summary {summary}"));
    let mut comparison = Comparison::of(format!("summary of {case}"));
    comparison.field(process, "comm", truths[0].holders[0].comm.as_str());
    comparison.field(process, "sockets", truths.len());
    comparison.field(process, "verdicts", json!({"eof_read": truths.len()}));
    comparison.field(process, "fds_used", fds_used);
    comparison.field(process, "fds_limit", fds_limit);
    for field in ["unit", "container", "per_minute", "oldest_ns"] {
        comparison.present(process, field);
    }
    comparison.holds(peers(process) == expected_peers(&truths), || {
        format!("peers: expected {:?}, are {:?}", expected_peers(&truths), peers(process))
    });
    let oldest = session.records.iter().filter(|record| record["type"] == "leak_end");
    let oldest = oldest.filter(|record| truths.iter().any(|truth| truth.is_about(record)));
    comparison.field(process, "oldest_ns", oldest.map(|end| number(end, "close_wait_ns")).max());
    for field in ["time", "duration_ns", "records", "lost", "undecodable", "evicted", "unattributed"] {
        comparison.present(summary, field);
    }
    comparison.within("lost for room", lost_for_room(summary), &(0..=0));
    comparison.field(summary, "undecodable", 0);
    comparison.finish(&[summary]);
}

fn compare_end(end: &Value, truth: &Truth, (before, after): (u64, u64)) {
    let mut comparison = Comparison::of(format!("leak_end of {}", truth.name()));
    comparison.socket(end, truth);
    comparison.field(end, "how", "closed");
    comparison.field(end, "close_wait_is", "exact");
    comparison.field(&end["closed_by"], "pid", truth.holders[0].pid);
    comparison.field(&end["closed_by"], "comm", truth.holders[0].comm.as_str());
    let dwell = before - truth.entered_after_ns..=after - truth.entered_before_ns;
    comparison.within("close_wait_ns", number(end, "close_wait_ns"), &dwell);
    let bracket = clock::bracket(before, after);
    comparison.within("time", clock::monotonic_of(text(end, "time")), &bracket);
    comparison.finish(&[end]);
}

/// Expects nothing about the peers: they closed as they should, and own nothing.
fn nothing_about_peers(truths: &[Truth], records: &[Value]) {
    for truth in truths {
        for record in records.iter().filter(|record| record["type"] == "leak") {
            assert!(
                !truth.is_about_other_end(record),
                "the peer's end of {} is reported: {record}",
                truth.name()
            );
            let owners = record["owners"].as_array().unwrap();
            let names_peer = owners.iter().any(|owner| owner["pid"] == truth.peer_pid);
            assert!(!names_peer, "the peer of {} is named: {record}", truth.name());
        }
    }
}

/// Address, port and count of each peer, sorted.
fn peers(process: &Value) -> Vec<(String, u64, u64)> {
    let list = process["peers"].as_array().cloned().unwrap_or_default();
    let mut peers: Vec<_> = list
        .iter()
        .map(|peer| (text(peer, "raddr").to_owned(), number(peer, "rport"), number(peer, "count")))
        .collect();
    peers.sort();
    peers
}

fn expected_peers(truths: &[Truth]) -> Vec<(String, u64, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    for truth in truths {
        *counts.entry((truth.raddr.clone(), u64::from(truth.rport))).or_default() += 1;
    }
    counts.into_iter().map(|((address, port), count)| (address, port, count)).collect()
}

fn a_trace_with_owners_tells_transitions_and_leaks_of_the_same_sockets() {
    let arguments = ["trace", "--owners", "--older-than", "500ms"];
    let tracer = Tracer::start(Backend::Btf, &arguments);
    let mut leaky = Leaky::start("accepted_kept", &["--count", COUNT]);
    let truths = leaky.truths.clone();
    for (truth, leak) in truths.iter().zip(tracer.wait_for_each("leak", &truths)) {
        let mut comparison = Comparison::of(format!("leak of {}", truth.name()));
        comparison.leak(&leak, truth);
        comparison.finish(&[&leak]);
    }
    let closed = leaky.close();
    for (truth, end) in truths.iter().zip(tracer.wait_for_each("leak_end", &truths)) {
        compare_end(&end, truth, closed);
    }
    let session = tracer.stop();
    for truth in &truths {
        let transitions = truth.records("transition", &session.records);
        let states: Vec<&str> = transitions.iter().map(|record| text(record, "new_state")).collect();
        assert!(states.contains(&"CLOSE_WAIT"), "{}: {states:?}", truth.name());
        let end = transitions.iter().find(|record| record["old_state"] == "CLOSE_WAIT");
        let end =
            end.unwrap_or_else(|| panic!("no transition of {} leaves CLOSE_WAIT: {states:?}", truth.name()));
        let leak_end = &truth.records("leak_end", &session.records)[0];
        assert_eq!(end["dwell_ns"], leak_end["close_wait_ns"], "time in CLOSE_WAIT");
    }
    let holder = truths[0].holders[0].pid;
    let summary = session.summary();
    let processes = summary["processes"].as_array().unwrap();
    assert!(processes.iter().any(|process| process["pid"] == holder), "{summary}");
}
