//! `--deep`: who read the end of file of a leaked socket, when, and at which line. Without the option, nobody knows.

use std::mem::MaybeUninit;

use serde_json::Value;

use crate::support::clock;
use crate::support::compare::{Comparison, text};
use crate::support::leaky::Leaky;
use crate::support::own_pair::OwnPair;
use crate::support::run::run;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;
use crate::support::{Backend, kernel_is_at_least};

on_both_backends! {
    the_first_read_of_the_end_of_file_is_told_and_only_that,
    what_returns_nothing_without_being_told_the_end_is_no_read_of_it,
    who_read_the_end_of_file_is_not_known_unless_asked_for,
}

/// Traces programs with one socket each, and returns the leak of each in their order.
fn leaks(backend: Backend, options: &[&str], cases: &[&str]) -> (Vec<Leaky>, Vec<Value>) {
    let tracer = Tracer::start(backend, &[&["leaks", "--older-than", "1s"], options].concat());
    let programs: Vec<Leaky> = cases.iter().map(|case| Leaky::start(case, &[])).collect();
    let truths: Vec<Truth> = programs.iter().map(|program| program.truth().clone()).collect();
    let leaks = tracer.wait_for_each("leak", &truths);
    tracer.stop().summary();
    (programs, leaks)
}

/// Whether receive calls can be followed on this kernel. Where they cannot, the tool has to refuse.
fn can_follow_reads(backend: Backend) -> bool {
    let can = kernel_is_at_least((6, 3));
    if !can {
        run(&["leaks", "--deep", "--backend", backend.name()]).refuses(3, &["--deep", "Linux 6.3"]);
    }
    can
}

fn the_first_read_of_the_end_of_file_is_told_and_only_that(backend: Backend) {
    if !can_follow_reads(backend) {
        return;
    }
    let cases = ["accepted_kept", "connect_kept", "eof_unread", "data_unread", "never_accepted"];
    let (programs, leaks) = leaks(backend, &["--deep"], &cases);
    let mut comparison = Comparison::of("who read the end of file");
    for ((program, leak), case) in programs.iter().zip(&leaks).zip(cases) {
        let truth = program.truth();
        let read = &leak["eof_read_by"];
        if truth.verdict.as_deref() != Some("eof_read") {
            comparison.field(leak, "eof_read_by", Value::Null);
            continue;
        }
        let holder = &truth.holders[0];
        comparison.field(read, "pid", holder.pid);
        comparison.field(read, "tid", holder.pid);
        comparison.field(read, "comm", holder.comm.as_str());
        let Some(time) = read["time"].as_str() else { continue };
        let reported = clock::monotonic_of(text(leak, "time"));
        let possible = clock::bracket(truth.entered_before_ns, reported);
        comparison.within("eof_read_by.time", clock::monotonic_of(time), &possible);
        // The depth of a stack depends on how the program and its libraries were compiled.
        let is_named = read["stack"].as_array().is_some_and(|stack| !stack.is_empty());
        comparison.holds(is_named, || format!("{case}: no stack in {read}"));
        comparison.present(read, "stack_is_cut");
    }
    comparison.finish(&leaks.iter().collect::<Vec<_>>());
}

fn what_returns_nothing_without_being_told_the_end_is_no_read_of_it(backend: Backend) {
    if !can_follow_reads(backend) {
        return;
    }
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s", "--deep"]);
    let receive = |pair: &OwnPair, buffer: &mut [MaybeUninit<u8>], expected: usize| {
        assert_eq!(pair.leaked.recv(buffer).unwrap(), expected);
    };
    // Somebody peeked at the end of file: every pair begins that way.
    let peeked = OwnPair::unread(&[]);
    // A read into an empty buffer returns 0, whatever is queued.
    let no_buffer = OwnPair::unread(b"unread");
    receive(&no_buffer, &mut [], 0);
    // A read of the last data consumes the end of file too, but does not return it to anybody.
    let with_data = OwnPair::unread(b"all of it");
    receive(&with_data, &mut [MaybeUninit::uninit(); 100], 9);
    // The same, and then one more read.
    let asked_again = OwnPair::unread(b"all of it");
    receive(&asked_again, &mut [MaybeUninit::uninit(); 100], 9);
    receive(&asked_again, &mut [MaybeUninit::uninit(); 100], 0);

    let truths = [&peeked, &no_buffer, &with_data, &asked_again].map(|pair| pair.truth.clone());
    let leaks = tracer.wait_for_each("leak", &truths);
    let mut comparison = Comparison::of("what is no read of the end of file");
    for (leak, verdict) in leaks.iter().zip(["eof_unread", "data_unread", "eof_read"]) {
        comparison.field(leak, "verdict", verdict);
        comparison.field(leak, "eof_read_by", Value::Null);
    }
    comparison.field(&leaks[3]["eof_read_by"], "pid", std::process::id());
    comparison.finish(&leaks.iter().collect::<Vec<_>>());
    tracer.stop().summary();
}

fn who_read_the_end_of_file_is_not_known_unless_asked_for(backend: Backend) {
    let (_programs, leaks) = leaks(backend, &[], &["accepted_kept"]);
    let mut comparison = Comparison::of("without --deep");
    comparison.field(&leaks[0], "eof_read_by", Value::Null);
    comparison.finish(&leaks.iter().collect::<Vec<_>>());
}
