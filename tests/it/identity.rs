//! What the tool reports about a process beside its name.

use serde_json::Value;

use crate::support::clear::{Sockets, clear};
use crate::support::facts::{Facts, descriptors};
use crate::support::leaky::Leaky;
use crate::support::run::run;
use crate::support::tracer::Tracer;
use crate::support::{Backend, kernel_is_at_least};

live_tests! {
    an_owner_started_when_the_kernel_says,
    a_process_whose_main_thread_has_ended_is_a_process,
}

/// /proc counts the start of a process in hundredths of a second.
const TICK_SECONDS: f64 = 0.01;

/// Steering and comparing clocks may add this much; nothing else may.
const SLACK_SECONDS: f64 = 0.03;

fn an_owner_started_when_the_kernel_says() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let tracer = Tracer::start(Backend::Btf, &["leaks", "--older-than", "0s"]);
    let leak = tracer.wait_for_each("leak", &leaky.truths).remove(0);
    let expected = Facts::of(leaky.truth().holders[0].pid).started;
    let started = leak["owners"][0]["started"].as_str().expect("a time in RFC 3339");
    let actual = started.parse::<jiff::Timestamp>().expect("a time in RFC 3339").as_nanosecond() as f64 / 1e9;
    assert!(
        (actual - expected).abs() < TICK_SECONDS + SLACK_SECONDS,
        "started: expected {expected:.2} s since 1970, is {started}, which is {actual:.2} s"
    );
}

fn a_process_whose_main_thread_has_ended_is_a_process() {
    let tracer = Tracer::start(Backend::Btf, &["leaks", "--older-than", "1s"]);
    let leaky = Leaky::start("main_thread_ended", &[]);
    let truth = leaky.truth();
    let holder = &truth.holders[0];
    let (facts, (used, limit)) = (Facts::of(holder.pid), descriptors(holder.pid));
    let is_told = |owner: &Value, of: &str| {
        assert_eq!(owner["exe"], facts.exe.as_str(), "{of}: {owner}");
        assert_eq!(owner["cmdline"], Value::from(facts.cmdline.clone()), "{of}: {owner}");
        assert_eq!(owner["fds"], Value::from(holder.fds.clone()), "{of}: {owner}");
        assert_eq!(owner["evidence"], "fd_table", "{of}: {owner}");
    };
    let leak = tracer.wait_for_each("leak", &leaky.truths).remove(0);
    is_told(&leak["owners"][0], "leaks");
    let stack = leak["opened_by"]["stack"].as_array().unwrap_or_else(|| panic!("no stack in {leak}"));
    assert!(!stack.is_empty(), "{leak}");
    let session = tracer.stop();
    let processes = session.summary()["processes"].as_array().unwrap();
    let process = processes.iter().find(|process| process["pid"] == holder.pid).unwrap();
    assert_eq!((&process["fds_used"], &process["fds_limit"]), (&used.into(), &limit.into()), "{process}");
    for source in ["iterator", "proc"] {
        let lport = truth.lport.to_string();
        let now = run(&["now", "--holders", source, "--format", "jsonl", "--lport", &lport]);
        let records: Vec<Value> =
            now.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [leak] = truth.records("leak", &records)[..] else { panic!("{source}: {}", now.output) };
        is_told(&leak["owners"][0], source);
    }
    // Its descriptors are copied through a thread that lives.
    if kernel_is_at_least((6, 9)) {
        let cleared = clear(&leaky.truths, &["--older-than", "0s", "--yes", "--method", "shutdown"]);
        assert_eq!(cleared.outcome(truth), ("gone", Some(0)), "{:?}", cleared.record(truth));
        assert_ne!(Sockets::now().state_of(truth), Some("CLOSE_WAIT"));
    }
}
