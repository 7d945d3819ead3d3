//! Thousands of sockets at once, and leaks amid a storm of connections: the tool reports each of them once, and nothing
//! else.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::support::churn::churn;
use crate::support::clock;
use crate::support::compare::{Comparison, number, text};
use crate::support::judge::judge;
use crate::support::leaky::Leaky;
use crate::support::tracer::{Session, Tracer, lost_for_room};
use crate::support::truth::{Index, Truth};
use crate::support::{Backend, free_port};

on_both_backends! {
    two_thousand_sockets_of_a_hundred_processes_are_all_named_as_they_come,
    two_thousand_sockets_of_a_hundred_processes_are_all_named_afterwards,
    leaks_amid_thousands_of_short_connections_are_named_and_nothing_else_is,
}

/// Lets one crowd at a time onto the host: the tool looks up only so many other ends in one look.
fn alone() -> MutexGuard<'static, ()> {
    static CROWD: Mutex<()> = Mutex::new(());
    CROWD.lock().unwrap_or_else(PoisonError::into_inner)
}

const MANY: [&str; 4] = ["--count", "2000", "--processes", "100"];

fn two_thousand_sockets_of_a_hundred_processes_are_all_named_as_they_come(backend: Backend) {
    let _alone = alone();
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "4s"]);
    let leaky = Leaky::start("many", &MANY);
    all_named(&leaky.truths, tracer);
}

fn two_thousand_sockets_of_a_hundred_processes_are_all_named_afterwards(backend: Backend) {
    let _alone = alone();
    let leaky = Leaky::start("many", &MANY);
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s"]);
    all_named(&leaky.truths, tracer);
}

fn all_named(truths: &[Truth], tracer: Tracer) {
    for (truth, leak) in truths.iter().zip(tracer.wait_for_each("leak", truths)) {
        let mut comparison = Comparison::of(format!("age of {}", truth.name()));
        let at = clock::monotonic_of(text(&leak, "time"));
        if leak["close_wait_is"] == "at_least" {
            comparison.age_at(&leak, at, truth);
        } else {
            let bracket = clock::bracket(truth.entered_before_ns, truth.entered_after_ns);
            comparison.within("entry", at - number(&leak, "close_wait_ns"), &bracket);
        }
        comparison.finish(&[&leak]);
    }
    let session = tracer.stop();
    check_each(truths, &session);
    let processes = session.summary()["processes"].as_array().unwrap();
    let mut expected: HashMap<i32, u64> = HashMap::new();
    for truth in truths {
        *expected.entry(truth.holders[0].pid).or_default() += 1;
    }
    for (pid, count) in expected {
        let process = processes.iter().find(|process| process["pid"] == pid);
        let process = process.unwrap_or_else(|| panic!("pid {pid} is not in the summary"));
        assert_eq!(process["sockets"], count, "sockets in {process}");
        assert_eq!(process["verdicts"]["eof_read"], count, "verdicts in {process}");
    }
}

/// Expects each to be reported once and correctly.
fn check_each(truths: &[Truth], session: &Session) {
    let index = Index::of(truths);
    let mut leaks: Vec<Vec<&Value>> = vec![Vec::new(); truths.len()];
    for record in session.records.iter().filter(|record| record["type"] == "leak") {
        if let Some(at) = index.find(record) {
            leaks[at].push(record);
        }
    }
    let wrong: Vec<String> = truths
        .iter()
        .zip(&leaks)
        .filter_map(|(truth, leaks)| judge(truth, leaks).err().map(|why| format!("{} {why}", truth.name())))
        .collect();
    let count = wrong.len();
    let some = wrong.into_iter().take(5).collect::<Vec<_>>().join("\n");
    assert!(count == 0, "{count} of {} are reported wrongly; some of them:\n{some}", truths.len());
}

fn leaks_amid_thousands_of_short_connections_are_named_and_nothing_else_is(backend: Backend) {
    const STORM: u64 = 10_000;
    let _alone = alone();
    let port = free_port();
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s"]);
    let before = Leaky::start("accepted_kept", &["--count", "50"]);
    churn(STORM, port, 4);
    let amid = Leaky::start("connect_kept", &["--count", "50"]);
    churn(STORM, port, 4);
    tracer.wait_for_each("leak", &before.truths);
    tracer.wait_for_each("leak", &amid.truths);
    let session = tracer.stop();
    let summary = session.summary();
    assert_eq!(lost_for_room(summary), 0, "lost in {summary}");
    for field in ["undecodable", "evicted"] {
        assert_eq!(summary[field], 0, "{field} in {summary}");
    }
    // Each connection of the storm was seen, though nobody heard of its end: two openers, of which the budget has few.
    assert!(number(summary, "openers_skipped") >= STORM, "openers_skipped in {summary}");
    check_each(&before.truths, &session);
    check_each(&amid.truths, &session);
    let of_the_storm = |record: &&Value| record["lport"] == port || record["rport"] == port;
    let surplus: Vec<&Value> = session.records.iter().filter(of_the_storm).take(5).collect();
    assert!(surplus.is_empty(), "short connections are reported: {surplus:#?}");
}
