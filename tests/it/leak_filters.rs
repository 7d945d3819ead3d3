//! Filters on `tcptrace leaks` keep the same of sockets that existed before the tool, of which there is no transition,
//! and of those that appear while it runs.

use std::collections::HashSet;

use serde_json::Value;

use crate::support::Backend;
use crate::support::compare::Comparison;
use crate::support::leaky::Leaky;
use crate::support::run::run;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;

live_tests! {
    one_look_counts_what_its_filters_admit,
}

on_both_backends! {
    filters_keep_the_same_of_what_was_there_first_and_of_what_comes,
}

fn one_look_counts_what_its_filters_admit() {
    let [kept, other] =
        [3, 2].map(|count: u32| Leaky::start("accepted_kept", &["--count", &count.to_string()]));
    let (port, pid) = (kept.truths[0].lport.to_string(), other.truths[0].holders[0].pid.to_string());
    for (command, filter, expected) in [
        ("now", ["--lport", port.as_str()], 3),
        ("now", ["--pid", pid.as_str()], 2),
        ("clear", ["--lport", port.as_str()], 3),
    ] {
        let ran = run(&[&[command, "--older-than", "1h", "--format", "jsonl"], &filter[..]].concat());
        let last = ran.output.lines().last().unwrap_or_default();
        let summary: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{}", ran.messages));
        let mut compared = Comparison::of(format!("{command} {filter:?}"));
        compared.field(&summary, "in_close_wait", expected);
        compared.field(&summary, "records", expected);
        compared.finish(&[&summary]);
    }
}

/// One socket of each kind.
const KINDS: [(&str, &str); 4] =
    [("accepted_kept", "4"), ("accepted_kept", "6"), ("accepted_kept", "mapped"), ("other_netns", "4")];

fn start() -> [Leaky; 4] {
    KINDS.map(|(case, family)| Leaky::start(case, &["--family", family]))
}

fn filters_keep_the_same_of_what_was_there_first_and_of_what_comes(backend: Backend) {
    let first = start();
    let here = first[0].truth().netns.to_string();
    let elsewhere = format!("/proc/{}/ns/net", first[3].truth().holders[0].pid);
    // Each with the kinds it keeps.
    let cases: [(&[&str], &[usize]); 6] = [
        (&["-4"], &[0, 2, 3]),
        (&["-6"], &[1]),
        (&["--addr", "::1"], &[1]),
        (&["--addr", "127.0.0.0/8"], &[0, 2, 3]),
        (&["--netns", &here], &[0, 1, 2]),
        (&["--netns", &elsewhere], &[3]),
    ];
    let tracers =
        cases.map(|(filter, _)| Tracer::start(backend, &[&["leaks", "--older-than", "1s"], filter].concat()));
    let second = start();
    // The tool inspects sockets in the order in which they came: when it has reported those of a third round, it has
    // inspected those of the first two.
    let third = start();
    for ((filter, kinds), tracer) in cases.into_iter().zip(tracers) {
        // The namespace of the first round is not that of the later ones.
        let is_elsewhere = filter.contains(&elsewhere.as_str());
        let of = |programs: &[Leaky; 4]| -> Vec<Truth> {
            kinds.iter().map(|kind| programs[*kind].truth().clone()).collect()
        };
        tracer.wait_for_each("leak", &of(&first));
        if !is_elsewhere {
            tracer.wait_for_each("leak", &[of(&second), of(&third)].concat());
        }
        let session = tracer.stop();
        session.summary();
        let expected: HashSet<String> = [of(&first), if is_elsewhere { Vec::new() } else { of(&second) }]
            .concat()
            .iter()
            .map(|truth| format!("{} in {}", truth.name(), truth.netns))
            .collect();
        for truth in first.iter().chain(&second).map(Leaky::truth) {
            let count = truth.records("leak", &session.records).len();
            let is_expected = expected.contains(&format!("{} in {}", truth.name(), truth.netns));
            assert_eq!(
                count,
                usize::from(is_expected),
                "{filter:?}: records of {} in namespace {}",
                truth.name(),
                truth.netns
            );
        }
    }
}
