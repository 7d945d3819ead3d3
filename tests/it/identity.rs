//! What the tool reports about a process beside its name.

use crate::support::Backend;
use crate::support::facts::Facts;
use crate::support::leaky::Leaky;
use crate::support::tracer::Tracer;

live_tests! {
    an_owner_started_when_the_kernel_says,
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
