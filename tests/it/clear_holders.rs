//! `clear` on every way a socket can leak, by both methods: it ends what it should, the peer sees the end, and nothing
//! else is touched.

use serde_json::Value;

use crate::support::clear::{Clear, Sockets, clear};
use crate::support::kernel_is_at_least;
use crate::support::leaky::Leaky;
use crate::support::run::Ran;
use crate::support::truth::Truth;

live_tests! {
    every_leaked_socket_is_ended_and_its_neighbours_are_not,
    every_socket_that_somebody_holds_is_shut_down_and_its_neighbours_are_not,
}

fn every_leaked_socket_is_ended_and_its_neighbours_are_not() {
    all_cases(&[], |truth| if truth.case.starts_with("mptcp") { "shutdown" } else { "destroy" });
}

fn every_socket_that_somebody_holds_is_shut_down_and_its_neighbours_are_not() {
    all_cases(&["--method", "shutdown"], |truth| match truth.verdict.as_deref() {
        Some("never_accepted" | "no_holder") => "refused",
        // A descriptor of a thread cannot be copied there (`PIDFD_THREAD`).
        _ if truth.case == "main_thread_ended" && !kernel_is_at_least((6, 9)) => "refused_shutdown",
        _ => "shutdown",
    });
}

/// Builds and ends every case; `way` says by which method each socket is expected to end.
fn all_cases(arguments: &[&str], way: fn(&Truth) -> &'static str) {
    let neighbour = Leaky::start("accepted_kept", &["--count", "2"]);
    // Whoever has just written is half-open, until it has written in vain for a while.
    let write = ["sends_to_nobody", "answers_nobody", "blocked_in_write"];
    // Seconds pass before these leak, as others do.
    let slow = ["last_words", "answers_unread", "late_answer_unread"];
    let others = |case: &String| !["many"].iter().chain(&write).chain(&slow).any(|other| case == other);
    let cases = Leaky::cases().into_iter().filter(others);
    let ended: Vec<(Leaky, Clear)> = cases.map(|case| end(&case, arguments)).collect();
    let sockets = Sockets::now();
    for truth in &neighbour.truths {
        assert_eq!(sockets.state_of(truth), Some("CLOSE_WAIT"), "the neighbour {}", truth.name());
    }
    let mut wrong = Vec::new();
    for (leaky, session) in &ended {
        for truth in &leaky.truths {
            if truth.verdict.is_none() || truth.is_over() {
                let touched = truth.records("cleared", &session.records);
                let kept = !truth.is_over() || sockets.over(truth).is_some();
                if !touched.is_empty() || !kept {
                    wrong.push(format!("{}, not to be touched: {touched:?}", truth.name()));
                }
                continue;
            }
            let way = way(truth);
            if let Err(why) = check(truth, session.record(truth), way, &sockets) {
                wrong.push(format!("{}, to be ended by {way}: {why}", truth.name()));
            }
            let code = if way.starts_with("refused") { 3 } else { 0 };
            if session.ran.code != Some(code) {
                let Ran { code, messages, .. } = &session.ran;
                wrong.push(format!("{}: exit code {code:?}: {messages}", truth.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn end(case: &str, arguments: &[&str]) -> (Leaky, Clear) {
    let count = if case == "never_accepted_reuseport" { "6" } else { "2" };
    let leaky = Leaky::start(case, &["--count", count, "--nice", "19"]);
    let arguments = [&["--older-than", "0s", "--yes"], arguments].concat();
    let mut session = clear(&leaky.truths, &arguments);
    if leaky.truths[0].verdict.as_deref() == Some("half_open") {
        let touched = session.records.iter().find(|record| record["type"] == "cleared");
        assert_eq!(touched, None, "a half-close that is still used or waited for");
        session = clear(&leaky.truths, &[&arguments[..], &["--verdict", "half_open"]].concat());
    }
    (leaky, session)
}

/// The holders still have their descriptors, which are listed as those of a connection that is over.
fn check_what_stays(truth: &Truth, holders: &[i64], sockets: &Sockets) -> Result<(), String> {
    let has_descriptors = !matches!(truth.verdict.as_deref(), Some("never_accepted" | "no_holder"));
    // The descriptor of an MPTCP connection is that of another socket: docs/limits.md.
    if !has_descriptors || truth.case.starts_with("mptcp") {
        return Ok(());
    }
    let over = sockets.over(truth).ok_or("its descriptors are listed nowhere")?;
    let owners = over["owners"].as_array().into_iter().flatten();
    let mut named: Vec<i64> = owners.filter_map(|owner| owner["pid"].as_i64()).collect();
    named.sort_unstable();
    if named == holders && over["verdict"] == "connection_over" {
        Ok(())
    } else {
        Err(format!("its descriptors are listed wrongly: {over}"))
    }
}

fn check(truth: &Truth, record: &Value, way: &str, sockets: &Sockets) -> Result<(), String> {
    let is = |what: &str, actual: &Value, expected: Value| {
        if *actual == expected { Ok(()) } else { Err(format!("{what} is not {expected}: {record}")) }
    };
    let state = sockets.state_of(truth);
    if way == "refused" {
        is("outcome", &record["outcome"], "refused".into())?;
        is("method", &record["method"], Value::Null)?;
        return if state == Some("CLOSE_WAIT") { Ok(()) } else { Err(format!("is in {state:?} now")) };
    }
    if way == "refused_shutdown" {
        is("outcome", &record["outcome"], "refused".into())?;
        is("method", &record["method"], "shutdown".into())?;
        let says_why = record["reason"].as_str().is_some_and(|reason| reason.contains("before Linux 6.9"));
        let is_untouched = says_why && state == Some("CLOSE_WAIT");
        return if is_untouched { Ok(()) } else { Err(format!("is in {state:?} now: {record}")) };
    }
    is("method", &record["method"], way.into())?;
    is("outcome", &record["outcome"], "gone".into())?;
    is("reason", &record["reason"], Value::Null)?;
    is("state", &record["state"], "CLOSE_WAIT".into())?;
    if let Some(cookie) = truth.cookie {
        is("cookie", &record["cookie"], cookie.into())?;
    }
    // Who uses a socket without a descriptor.
    let user = truth.used_by.as_ref().map(|used_by| i64::from(used_by.pid));
    let ways = ["in_call", "io_uring", "mapped"];
    let uses = |owner: &&Value| ways.iter().any(|evidence| owner["evidence"] == *evidence);
    let is_right = |owner: &&Value| truth.holders.is_empty() && owner["pid"].as_i64() == user;
    let owners = record["owners"].as_array().into_iter().flatten();
    let owners = owners.filter(|owner| !(uses(owner) && is_right(owner)));
    let mut named: Vec<i64> = owners.filter_map(|owner| owner["pid"].as_i64()).collect();
    let mut holders: Vec<i64> = truth.holders.iter().map(|holder| i64::from(holder.pid)).collect();
    named.sort_unstable();
    holders.sort_unstable();
    if named != holders {
        return Err(format!("the owners are {named:?}, not {holders:?}"));
    }
    if state.is_some() {
        return Err(format!("is still there, in {state:?}"));
    }
    check_what_stays(truth, &holders, sockets)?;
    // The peer has closed, or shut down its sending side, and has waited for our FIN ever since.
    match (way, sockets.peers_state(truth)) {
        (_, None) | ("shutdown", Some("TIME_WAIT")) => Ok(()),
        (_, state) => Err(format!("the peer still waits, in {state:?}")),
    }
}
