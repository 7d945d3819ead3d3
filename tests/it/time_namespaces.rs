//! The tool in a time namespace: its clocks are shifted, and those that the kernel side stamps records with are not.
//! Ages, dates and thresholds are right all the same.

use std::process::{ChildStdout, Command};

use serde_json::Value;

use crate::support::compare::{Comparison, number, text};
use crate::support::facts::Facts;
use crate::support::leaky::Leaky;
use crate::support::pidns::only_child;
use crate::support::process::Process;
use crate::support::run::finish;
use crate::support::time_waits::records;
use crate::support::tracer::{Tracer, lacks_namespaces_only};
use crate::support::truth::Truth;
use crate::support::{Backend, TCPTRACE, clock};

on_both_backends! {
    times_are_right_a_day_ahead,
    times_are_right_behind,
    times_are_right_where_only_the_clock_of_boot_is_shifted,
}

fn times_are_right_a_day_ahead(backend: Backend) {
    times_are_right(backend, 86_400, 86_400);
}

fn times_are_right_behind(backend: Backend) {
    // The kernel refuses to put a clock before its zero.
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
    let back = -(uptime - 5).min(900);
    times_are_right(backend, back, back);
}

fn times_are_right_where_only_the_clock_of_boot_is_shifted(backend: Backend) {
    times_are_right(backend, 0, 3_600);
}

/// Starts the tool where the clocks are ahead by this many seconds.
fn start(command: &Command, monotonic: i64, boottime: i64) -> (Process, ChildStdout) {
    let mut within = Command::new("unshare");
    within.args(["--time", "--fork", "--kill-child"]);
    within.args(["--monotonic", &monotonic.to_string(), "--boottime", &boottime.to_string()]);
    within.arg(command.get_program()).args(command.get_args());
    let (process, stdout) = Process::start(&mut within);
    let tool = only_child(process.pid());
    (process.with_signals_to(tool), stdout)
}

fn times_are_right(backend: Backend, monotonic: i64, boottime: i64) {
    let within = |command: &mut Command| start(command, monotonic, boottime);
    let before = Leaky::start("accepted_kept", &[]);
    let watch =
        |arguments: &[&str]| Tracer::start_by(&[arguments, &["--backend", backend.name()]].concat(), within);
    let (leaks, trace) = (watch(&["leaks", "--older-than", "1s"]), watch(&["trace"]));
    let during = Leaky::start("accepted_kept", &[]);
    let truth = during.truth();
    let leak = leaks.wait_for_each("leak", &during.truths).remove(0);
    let mut compared = Comparison::of("a leak that the session has seen");
    compared.leak(&leak, truth);
    compared.within("close_wait_ns", number(&leak, "close_wait_ns"), &(1_000_000_000..=20_000_000_000));
    compared.field(&leak["opened_by"], "pid", truth.opener.as_ref().unwrap().pid);
    compared.holds(leak["opened_by"]["stack"].is_array(), || "the opener's stack is not named".to_owned());
    started(&mut compared, &leak, truth);
    compared.finish(&[&leak]);
    let entry = trace.wait_for("the transition to CLOSE_WAIT", |record| {
        record["type"] == "transition" && truth.is_about(record) && record["new_state"] == "CLOSE_WAIT"
    });
    let mut compared = Comparison::of("a transition");
    let bracket = clock::bracket(truth.entered_before_ns, truth.entered_after_ns);
    compared.within("time", clock::monotonic_of(text(&entry, "time")), &bracket);
    // The kernel's clock, which is the one of the test, and of everybody else.
    compared.within("ktime_ns", number(&entry, "ktime_ns"), &bracket);
    compared.finish(&[&entry]);
    let earlier = leaks.wait_for_each("leak", &before.truths).remove(0);
    there_first(&earlier, before.truth());
    leaks.stop().summary();
    trace.stop().summary();
    let ran = finish(within(Command::new(TCPTRACE).args(["now", "--format", "jsonl"])));
    let now = records(&ran);
    let code = if now.last().is_some_and(lacks_namespaces_only) { 4 } else { 0 };
    assert_eq!(ran.code, Some(code), "{}", ran.messages);
    for truth in [before.truth(), truth] {
        let [leak] = truth.records("leak", &now)[..] else { panic!("{}: {now:#?}", truth.name()) };
        there_first(leak, truth);
    }
}

/// Compares the bounds of an age, and when the holder was started.
fn there_first(leak: &Value, truth: &Truth) {
    let mut compared = Comparison::of("a leak that was there first");
    compared.age_at(leak, clock::monotonic_of(text(leak, "time")), truth);
    let now = clock::monotonic_ns();
    let dated = clock::monotonic_of(text(leak, "time"));
    let entered = truth.entered_before_ns.saturating_sub(clock::steered_ns());
    compared.within("time", dated, &(entered..=now + clock::conversion_ns()));
    started(&mut compared, leak, truth);
    compared.finish(&[leak]);
}

fn started(compared: &mut Comparison, leak: &Value, truth: &Truth) {
    let [owner] = &leak["owners"].as_array().unwrap()[..] else {
        compared.holds(false, || "owners: not one".to_owned());
        return;
    };
    compared.field(owner, "pid", truth.holders[0].pid);
    let stated: jiff::Timestamp = text(owner, "started").parse().unwrap();
    let off = stated.as_millisecond() as f64 / 1e3 - Facts::of(truth.holders[0].pid).started;
    let error = 0.1 + clock::steered_ns() as f64 / 1e9;
    compared.holds(off.abs() < error, || format!("started: {off} s from the truth"));
}
