//! Who opened a leaked socket, and at which line, as opposed to who holds it.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

use crate::support::churn::churn;
use crate::support::compare::Comparison;
use crate::support::leaky::Leaky;
use crate::support::netns::Netns;
use crate::support::process::Process;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;
use crate::support::{Backend, free_port, turn};

on_both_backends! {
    the_opener_is_told_as_it_was_then_whoever_holds_the_socket_now,
    the_functions_below_which_a_socket_was_accepted_are_told_innermost_first,
    callers_without_frame_pointers_are_found,
    callers_whose_stacks_come_by_a_buffer_of_each_cpu_are_found,
    an_opener_that_died_before_anybody_asked_is_named_as_it_was,
    what_a_filter_leaves_out_costs_no_budget,
    calls_that_come_slowly_after_a_burst_have_their_stacks_copied,
}

live_tests! {
    people_are_told_that_a_stack_is_cut_short,
    a_library_that_is_a_trap_holds_nobody_up,
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
    let (programs, leaks) =
        undisturbed(backend, &[], || CASES.map(|(case, _)| Leaky::start(case, &[])).into());
    let mut comparison = Comparison::of("the openers");
    for ((program, leak), (case, inherited)) in programs.iter().zip(&leaks).zip(CASES) {
        let opener = program.truth().opener.as_ref().unwrap();
        // Without BTF accept cannot be followed, and an unknown opener is null.
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

/// Traces programs with one socket each. When very many sockets are opened at once, the tool leaves out openers and copies
/// of stacks, and counts them; then this tries again while those of other tests wait.
fn undisturbed(
    backend: Backend,
    options: &[&str],
    start: impl Fn() -> Vec<Leaky>,
) -> (Vec<Leaky>, Vec<Value>) {
    const TRIES: usize = 5;
    for tried in 0..TRIES {
        let _turn = (tried > 0).then(turn);
        let tracer = Tracer::start(backend, &[&["leaks", "--older-than", "2s"], options].concat());
        let programs = start();
        let truths: Vec<Truth> = programs.iter().map(|program| program.truth().clone()).collect();
        let leaks = tracer.wait_for_each("leak", &truths);
        let session = tracer.stop();
        let summary = session.summary();
        // That there were none of these is not written.
        if summary["openers_skipped"] == 0 && summary["stacks_dropped"].is_null() {
            return (programs, leaks);
        }
    }
    panic!(
        "other programs opened so many sockets that openers or stacks were left out, {TRIES} times in a row"
    );
}

/// A process that opens thousands of sockets which nobody asked for leaves all of the budget to others.
fn what_a_filter_leaves_out_costs_no_budget(backend: Backend) {
    const STORM: u64 = 5_000;
    let netns = Netns::new();
    let _inhabitant = netns.inhabitant();
    let elsewhere = netns.inode().to_string();
    for (filter, family) in [(&["--netns", &elsewhere][..], "4"), (&["-6"], "6")] {
        let arguments = [&["leaks", "--older-than", "1s"], filter].concat();
        let tracer = Tracer::start(backend, &arguments);
        churn(STORM, free_port(), 4);
        let start = |case| {
            Leaky::start_by(case, &["--family", family], |command| {
                if family == "4" {
                    netns.enter(command);
                }
                Process::start(command)
            })
        };
        let programs = ["accepted_kept", "connect_kept"].map(start);
        let truths = programs.each_ref().map(|program| program.truth().clone());
        let leaks = tracer.wait_for_each("leak", &truths);
        let session = tracer.stop();
        let summary = session.summary();
        assert_eq!(summary["openers_skipped"], 0, "with {filter:?}: {summary}");
        for leak in &leaks {
            let is_known = backend == Backend::Tracepoint || !leak["opened_by"].is_null();
            assert!(is_known, "with {filter:?}, the opener is not known: {leak}");
        }
    }
}

/// On one CPU, where a burst takes all copies that the process has there: they leave room for more, whenever they are unwound.
fn calls_that_come_slowly_after_a_burst_have_their_stacks_copied(backend: Backend) {
    let netns = Netns::new();
    let _inhabitant = netns.inhabitant();
    let inode = netns.inode().to_string();
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s", "--netns", &inode]);
    let leaky = Leaky::start_by("opener_after_burst", &["--count", "12"], |command| {
        Process::start(on_one_cpu(netns.enter(command)))
    });
    let leaks = tracer.wait_for_each("leak", &leaky.truths);
    // Frame pointers alone lead elsewhere.
    let has_none = |leak: &&Value| leak["opened_by"]["found_by"]["callers"] != json!(["unwind_information"]);
    let without: Vec<&Value> = leaks.iter().filter(has_none).collect();
    assert!(without.is_empty(), "{} of {}: {without:#?}", without.len(), leaks.len());
}

/// Has the command run on the first CPU that this thread may run on.
fn on_one_cpu(command: &mut Command) -> &mut Command {
    let allowed = sched_getaffinity(None).unwrap();
    let mut first = CpuSet::new();
    first.set((0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap());
    // SAFETY: the closure makes one system call and does not allocate.
    unsafe { command.pre_exec(move || Ok(sched_setaffinity(None, &first)?)) }
}

/// Cases whose openers' stacks are known, and whether they end early.
const STACKS: [(&str, bool); 6] = [
    ("opener_deep_stack", false),
    ("opener_jitted", false),
    ("opener_contained", false),
    ("opener_program_deleted", false),
    ("opener_library_deleted", false),
    ("opener_frameless", true),
];

fn the_functions_below_which_a_socket_was_accepted_are_told_innermost_first(backend: Backend) {
    let start = || STACKS.map(|(case, _)| Leaky::start(case, &[])).into();
    let (programs, leaks) = undisturbed(backend, &["--stack-bytes", "0"], start);
    let mut comparison = Comparison::of("the stacks of the openers");
    for ((program, leak), (case, is_cut)) in programs.iter().zip(&leaks).zip(STACKS) {
        if leak["opened_by"].is_null() && backend == Backend::Tracepoint {
            continue;
        }
        let frames = leak["opened_by"]["stack"].as_array().cloned().unwrap_or_default();
        let stack: Vec<&str> =
            frames.iter().map(|frame| frame.as_str().expect("a frame is a text")).collect();
        let mut rest = stack.iter();
        for function in program.truth().stack_functions.as_ref().unwrap() {
            let Some(frame) = rest.find(|frame| frame.contains(function.as_str())) else {
                comparison.holds(false, || format!("{case}: {function} is not in its place in {stack:#?}"));
                continue;
            };
            // Functions that were made at run time have no source.
            let has_place =
                if function.starts_with("jitted") { *frame == function } else { frame.contains(".rs:") };
            comparison.holds(has_place, || format!("{case}: a frame without file and line: {frame}"));
        }
        comparison.field(&leak["opened_by"], "stack_is_cut", is_cut);
        let is_named = stack.last().is_some_and(|frame| !frame.starts_with("0x"));
        comparison.holds(is_named, || format!("{case}: the outermost frame has no name: {stack:#?}"));
    }
    comparison.finish(&[]);
}

/// Every function is there, the one just outside of a wrapper without a frame too, whatever keeps frame pointers. The copy of
/// a stack may end before the stack does.
fn callers_without_frame_pointers_are_found(backend: Backend) {
    callers_are_found(backend, &[]);
}

fn callers_whose_stacks_come_by_a_buffer_of_each_cpu_are_found(backend: Backend) {
    callers_are_found(backend, &["--transport", "perf"]);
}

fn callers_are_found(backend: Backend, options: &[&str]) {
    const CASES: [&str; 4] =
        ["opener_frameless", "opener_deep_stack", "opener_program_deleted", "opener_library_deleted"];
    let start = || CASES.map(|case| Leaky::start(case, &[])).into();
    let (programs, leaks) = undisturbed(backend, options, start);
    let mut comparison = Comparison::of("the unwound stacks of the openers");
    for ((program, leak), case) in programs.iter().zip(&leaks).zip(CASES) {
        if leak["opened_by"].is_null() && backend == Backend::Tracepoint {
            continue;
        }
        let frames = leak["opened_by"]["stack"].as_array().cloned().unwrap_or_default();
        let mut rest = frames.iter().filter_map(Value::as_str);
        let functions = program.truth().stack_functions.as_ref().unwrap();
        for function in ["accept_below"].into_iter().chain(functions.iter().map(String::as_str)) {
            let is_there = rest.any(|frame| frame.contains(function) && frame.contains(".rs:"));
            comparison.holds(is_there, || format!("{case}: {function} is not in its place in {frames:#?}"));
        }
    }
    comparison.finish(&[]);
}

fn people_are_told_that_a_stack_is_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("leaks.txt");
    let by_frame_pointers = ["--stack-bytes", "0"];
    let arguments = ["leaks", "--older-than", "1s", "-o", "-", "-o", text.to_str().unwrap()];
    let arguments = [&arguments[..], &by_frame_pointers].concat();
    let tracer = Tracer::start_plain(&arguments);
    let programs = ["opener_deep_stack", "opener_frameless"].map(|case| Leaky::start(case, &[]));
    let truths = programs.each_ref().map(|program| program.truth().clone());
    tracer.wait_for_each("leak", &truths);
    tracer.stop().summary();
    let text = std::fs::read_to_string(text).unwrap();
    for (truth, is_cut) in truths.iter().zip([false, true]) {
        let port = format!(":{} ", truth.lport);
        let leak = text.lines().find(|line| line.contains("LEAK") && line.contains(&port));
        let leak = leak.unwrap_or_else(|| panic!("{} is not reported in\n{text}", truth.name()));
        // Of the worst process the last line of all has it, of others their own.
        let summary = text
            .lines()
            .filter(|line| !line.contains("LEAK"))
            .find(|line| line.contains("open_upstream") && line.contains("stack cut short") == is_cut);
        let summary = summary.unwrap_or_default();
        for line in [leak, summary] {
            assert!(line.contains("opened at") && line.contains("open_upstream"), "{line}");
            assert_eq!(line.contains("stack cut short"), is_cut, "{line}");
        }
    }
}

fn a_library_that_is_a_trap_holds_nobody_up() {
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--stack-bytes", "0"]);
    let trap = Leaky::start("opener_trap", &[]);
    let leak = tracer.wait_for_each("leak", &trap.truths).remove(0);
    assert_eq!(leak["opened_by"]["pid"], trap.truth().holders[0].pid, "{leak}");
    assert_eq!(leak["opened_by"]["stack"], Value::Null, "somebody has looked past the trap: {leak}");
    // The stacks of other programs are named as before.
    let other = Leaky::start("opener_deep_stack", &[]);
    let leak = tracer.wait_for_each("leak", &other.truths).remove(0);
    assert!(leak["opened_by"]["site"].as_str().is_some_and(|site| site.contains("open_upstream")), "{leak}");
    let session = tracer.stop();
    session.summary();
    assert!(session.messages.contains("cannot be named"), "{}", session.messages);
}

fn an_opener_that_died_before_anybody_asked_is_named_as_it_was(backend: Backend) {
    let (programs, leaks) = undisturbed(backend, &[], || vec![Leaky::start("opener_died", &[])]);
    let (truth, leak) = (programs[0].truth(), &leaks[0]);
    let opener = truth.opener.as_ref().unwrap();
    if leak["opened_by"].is_null() && backend == Backend::Tracepoint {
        return;
    }
    let gone = std::path::Path::new("/proc").join(opener.pid.to_string());
    assert!(!gone.exists(), "process {} is still there", opener.pid);
    let mut comparison = Comparison::of("an opener that died");
    comparison.field(leak, "verdict", "no_holder");
    for field in ["pid", "tid"] {
        comparison.field(&leak["opened_by"], field, opener.pid);
    }
    comparison.field(&leak["opened_by"], "comm", opener.comm.as_str());
    // No process is left whose code the addresses lie in; without a copy of its stack, nothing is kept of it.
    let opened = &leak["opened_by"];
    let is_ended = opened["no_site"]["because"] == "process_ended" && opened["stack"].is_null();
    let is_named =
        opened["site"].as_str().is_some_and(|site| site.contains("accept") && site.contains(".rs:"));
    comparison.holds(is_ended || is_named, || format!("the stack of one that died: {opened:#}"));
    let owners = leak["owners"].as_array().map_or(&[][..], Vec::as_slice);
    comparison.holds(owners.len() == 1, || "one owner".to_owned());
    for owner in owners {
        comparison.field(owner, "pid", opener.pid);
        comparison.field(owner, "comm", opener.comm.as_str());
        comparison.field(owner, "evidence", "opened");
        comparison.field(owner, "exe", Value::Null);
    }
    comparison.finish(&[leak]);
}
