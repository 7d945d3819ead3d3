//! Who opened a leaked socket, and at which line: told apart from who holds it.

use serde_json::Value;

use crate::support::Backend;
use crate::support::compare::Comparison;
use crate::support::leaky::Leaky;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;

on_both_backends! {
    the_opener_is_told_as_it_was_then_whoever_holds_the_socket_now,
    the_functions_below_which_a_socket_was_accepted_are_told_innermost_first,
}

/// Cases whose sockets were opened by a process, and whether each holder inherited them.
const CASES: [(&str, bool); 9] = [
    ("accepted_kept", false),
    ("connect_kept", false),
    ("accepted_by_thread", false),
    ("listener_closed", false),
    ("dup_original_closed", false),
    ("fork_child_holds", true),
    ("scm_rights_sender_closed", true),
    ("exec_renamed", false),
    ("opener_exited", true),
];

fn the_opener_is_told_as_it_was_then_whoever_holds_the_socket_now(backend: Backend) {
    let (programs, leaks) = undisturbed(backend, || CASES.map(|(case, _)| Leaky::start(case, &[])).into());
    let mut comparison = Comparison::of("the openers");
    for ((program, leak), (case, inherited)) in programs.iter().zip(&leaks).zip(CASES) {
        let opener = program.truth().opener.as_ref().unwrap();
        // Without BTF, accept cannot be followed; what is not known is null.
        if leak["opened_by"].is_null() && backend == Backend::Tracepoint && opener.how == "accept" {
            continue;
        }
        let expected = [
            ("pid", Value::from(opener.pid)),
            ("tid", Value::from(opener.tid)),
            ("comm", Value::from(opener.comm.as_str())),
            ("how", Value::from(opener.how.as_str())),
        ];
        for (field, expected) in expected {
            let actual = &leak["opened_by"][field];
            comparison.holds(*actual == expected, || {
                format!("{case}: opened_by.{field}: expected {expected}, is {actual}")
            });
        }
        let actual = &leak["owners"][0]["inherited"];
        comparison
            .holds(*actual == inherited, || format!("{case}: inherited: expected {inherited}, is {actual}"));
    }
    comparison.finish(&leaks.iter().collect::<Vec<_>>());
}

/// Traces programs with one socket each. The tool leaves out openers when very many sockets are opened at
/// once, and counts that; then it is tried again.
fn undisturbed(backend: Backend, start: impl Fn() -> Vec<Leaky>) -> (Vec<Leaky>, Vec<Value>) {
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        let tracer = Tracer::start(backend, &["leaks", "--older-than", "2s"]);
        let programs = start();
        let truths: Vec<Truth> = programs.iter().map(|program| program.truth().clone()).collect();
        let leaks = tracer.wait_for_each("leak", &truths);
        if tracer.stop().summary()["openers_skipped"] == 0 {
            return (programs, leaks);
        }
    }
    panic!("other programs opened so many sockets that openers were left out, {TRIES} times in a row");
}

fn the_functions_below_which_a_socket_was_accepted_are_told_innermost_first(backend: Backend) {
    let (programs, leaks) = undisturbed(backend, || vec![Leaky::start("opener_deep_stack", &[])]);
    let (leaky, leak) = (&programs[0], &leaks[0]);
    if leak["opened_by"].is_null() && backend == Backend::Tracepoint {
        return;
    }
    let functions = leaky.truth().stack_functions.clone().unwrap();
    let stack: Vec<String> = leak["opened_by"]["stack"]
        .as_array()
        .unwrap_or_else(|| panic!("opened_by.stack is no list in {leak}"))
        .iter()
        .map(|frame| frame.as_str().expect("a frame is a text").to_owned())
        .collect();
    let position = |function: &String| stack.iter().position(|frame| frame.contains(function.as_str()));
    let positions: Vec<usize> = functions
        .iter()
        .map(|function| position(function).unwrap_or_else(|| panic!("{function} is not in {stack:#?}")))
        .collect();
    assert!(positions.is_sorted(), "{functions:?} are not innermost first in {stack:#?}");
    for frame in positions.iter().map(|at| &stack[*at]) {
        assert!(frame.contains("deep_stack.rs:"), "a frame says file and line: {frame}");
    }
}
