//! Sockets that were in CLOSE_WAIT before the tool started: what it can know of their age.

use crate::support::clock;
use crate::support::compare::{Comparison, number, text};
use crate::support::leaky::Leaky;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;
use crate::support::{Backend, clock::monotonic_ns};

on_both_backends! {
    the_age_of_an_accepted_socket_that_was_there_first_is_bounded_truthfully,
    the_age_of_a_connected_socket_that_was_there_first_is_bounded_truthfully,
    the_age_of_a_socket_that_got_data_before_the_tool_came_is_bounded_truthfully,
    sockets_of_all_families_that_were_there_first_are_reported_once_and_so_is_their_end,
}

fn the_age_of_an_accepted_socket_that_was_there_first_is_bounded_truthfully(backend: Backend) {
    bounded("accepted_kept", backend);
}

fn the_age_of_a_connected_socket_that_was_there_first_is_bounded_truthfully(backend: Backend) {
    bounded("connect_kept", backend);
}

fn the_age_of_a_socket_that_got_data_before_the_tool_came_is_bounded_truthfully(backend: Backend) {
    bounded("data_unread", backend);
}

fn bounded(case: &str, backend: Backend) {
    let leaky = Leaky::start(case, &["--count", "2"]);
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "0s"]);
    for (truth, leak) in leaky.truths.iter().zip(tracer.wait_for_each("leak", &leaky.truths)) {
        let mut comparison = Comparison::of(format!("leak of {}", truth.name()));
        comparison.socket(&leak, truth);
        comparison.field(&leak, "verdict", truth.verdict.clone());
        comparison.field(&leak, "recv_q", truth.recv_q);
        comparison.owners(&leak, truth);
        let until = clock::monotonic_of(text(&leak, "time"));
        comparison.age_at(&leak, until, truth);
        comparison.finish(&[&leak]);
    }
}

fn sockets_of_all_families_that_were_there_first_are_reported_once_and_so_is_their_end(backend: Backend) {
    let mut programs =
        ["4", "6", "mapped"].map(|family| Leaky::start("accepted_kept", &["--family", family]));
    let truths: Vec<Truth> = programs.iter().flat_map(|program| program.truths.clone()).collect();
    let started = monotonic_ns();
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s"]);
    for leak in tracer.wait_for_each("leak", &truths) {
        let mut comparison = Comparison::of("a leak that was there first");
        // The tool is sure of an age that it has watched itself, or that the kernel's times prove. Either way
        // it must not report a socket that is younger than a second.
        comparison.within("close_wait_ns", number(&leak, "close_wait_ns"), &(1_000_000_000..=u64::MAX));
        comparison.finish(&[&leak]);
    }
    let closed = programs.each_mut().map(Leaky::close);
    let ends = tracer.wait_for_each("leak_end", &truths);
    for ((truth, end), (before, after)) in truths.iter().zip(&ends).zip(closed) {
        let mut comparison = Comparison::of(format!("leak_end of {}", truth.name()));
        comparison.socket(end, truth);
        comparison.field(end, "how", "closed");
        comparison.field(&end["closed_by"], "pid", truth.holders[0].pid);
        let age = before - truth.entered_after_ns..=after - truth.entered_before_ns;
        comparison.age_within(end, &age);
        let left = clock::monotonic_of(text(end, "time"));
        let (early, late) = clock::bracket(before, after).into_inner();
        comparison.within("time", left, &(started.max(early)..=late));
        comparison.finish(&[end]);
    }
    let session = tracer.stop();
    session.summary();
    for truth in &truths {
        for kind in ["leak", "leak_end"] {
            let count = truth.records(kind, &session.records).len();
            assert_eq!(count, 1, "records of type {kind} about {}", truth.name());
        }
    }
}
