//! Keep-alive probes, whose answers keep the least age of a stuck socket small for ever, and look like answers to data.

use std::time::{Duration, Instant};

use rustix::net::sockopt;
use serde_json::Value;

use crate::support::clear::{Clear, clear};
use crate::support::clock::monotonic_ns;
use crate::support::compare::{Comparison, number};
use crate::support::leaky::Leaky;
use crate::support::reconnection::{Connection, Listener, receive};
use crate::support::run::run;
use crate::support::truth::Truth;
use crate::support::until;

live_tests! {
    both_bounds_of_the_age_are_told_and_the_upper_one_decides_about_the_order,
    clear_finds_out_by_watching_how_old_a_socket_is,
    an_answer_to_a_probe_is_no_answer_to_data,
}

/// Everything in CLOSE_WAIT that these processes hold, in the order in which it is listed.
fn look(pids: &[i32]) -> Vec<Value> {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let mut typed = vec!["now", "--format", "jsonl"];
    typed.extend(pids.iter().flat_map(|pid| ["--pid", pid]));
    let found = Clear::from(run(&typed));
    found.records.into_iter().filter(|record| record["type"] == "leak").collect()
}

/// Waits until a socket has been probed and is in CLOSE_WAIT for so long.
fn wait_for_age(truth: &Truth, least_ns: u64) {
    until("it is older", || monotonic_ns() - truth.entered_after_ns > least_ns);
}

const SECOND: u64 = 1_000_000_000;

fn both_bounds_of_the_age_are_told_and_the_upper_one_decides_about_the_order() {
    let probed = Leaky::start("kept_alive", &[]);
    wait_for_age(probed.truth(), 3 * SECOND);
    let younger = Leaky::start("accepted_kept", &[]);
    wait_for_age(younger.truth(), 3 * SECOND / 2);
    let holders = [&probed, &younger].map(|leaky| leaky.truth().holders[0].pid);
    let before_ns = monotonic_ns();
    let [oldest, youngest] = &look(&holders)[..] else { panic!("two sockets") };
    let after_ns = monotonic_ns();
    let mut comparison = Comparison::of("a socket with keep-alive beside a younger one");
    comparison.socket(oldest, probed.truth());
    comparison.socket(youngest, younger.truth());
    comparison.field(oldest, "verdict", "eof_read");
    comparison.field(oldest, "keep_alive", true);
    comparison.field(youngest, "keep_alive", false);
    let entered = probed.truth().entered_before_ns..=probed.truth().entered_after_ns;
    comparison.age_within(oldest, &(before_ns - entered.end()..=after_ns - entered.start()));
    let [of_oldest, of_youngest] = [oldest, youngest].map(|record| number(record, "close_wait_ns"));
    // A probe each second: what is certain is less, and would put it last.
    comparison.holds(of_oldest < of_youngest, || format!("{of_oldest} is hidden, {of_youngest} is not"));
    comparison.finish(&[oldest, youngest]);

    let pids = holders.map(|pid| pid.to_string());
    let shown = run(&["now", "--pid", &pids[0], "--pid", &pids[1]]).output;
    let rows: Vec<&str> =
        shown.lines().filter(|line| line.contains("  eof_read  ") && line.ends_with("closed")).collect();
    assert!(rows.len() == 2 && rows[0].contains(&pids[0]), "{shown}");
    let age = rows[0].split("  ").find(|cell| !cell.trim().is_empty()).unwrap();
    assert!(age.contains('–'), "both bounds: {shown}");
}

fn clear_finds_out_by_watching_how_old_a_socket_is() {
    let probed = Leaky::start("kept_alive", &[]);
    let truth = probed.truth();
    wait_for_age(truth, 3 * SECOND);
    let (netns, lport) = (truth.netns.to_string(), truth.lport.to_string());
    let plan = run(&["clear", "--older-than", "2s", "--netns", &netns, "--lport", &lport]);
    assert_eq!(plan.code, Some(0), "{}", plan.messages);
    let said = "1 socket whose age the answers to keep-alive probes hide";
    assert!(plan.output.contains(said) && plan.output.contains("watched"), "{}", plan.output);

    // Too young, however long it is watched.
    let started = Instant::now();
    let spared = clear(&probed.truths, &["--older-than", "1h", "--yes"]);
    assert!(spared.records.iter().all(|record| record["type"] != "cleared"), "{}", spared.ran.output);
    assert!(started.elapsed() < Duration::from_mins(1), "it did not wait for an hour");

    let started = Instant::now();
    let cleared = clear(&probed.truths, &["--older-than", "2s", "--yes"]);
    assert!(started.elapsed() >= Duration::from_secs(2), "it was watched");
    assert_eq!(cleared.outcome(truth), ("gone", Some(0)), "{}", cleared.ran.messages);
    let record = cleared.record(truth);
    assert!(number(record, "close_wait_ns") >= 2 * SECOND, "{record}");
    assert!(cleared.ran.messages.contains("watching 1 socket for 2"), "{}", cleared.ran.messages);
}

fn an_answer_to_a_probe_is_no_answer_to_data() {
    let Connection { near, far } = Listener::new().connect_from(0);
    let second = Duration::from_secs(1);
    sockopt::set_tcp_keepidle(&near, second).unwrap();
    sockopt::set_tcp_keepintvl(&near, second).unwrap();
    sockopt::set_socket_keepalive(&near, true).unwrap();
    near.send(b"?").unwrap();
    assert_eq!(receive(&far), Ok(1));
    far.send(b"!").unwrap();
    assert_eq!(receive(&near), Ok(1));
    let truth = Truth::of("probed", &near);
    drop(far);
    assert_eq!(receive(&near), Ok(0), "the end of file");
    let entered_ns = monotonic_ns();
    let judged = || {
        let found = look(&[std::process::id().cast_signed()]);
        let [leak] = truth.records("leak", &found)[..] else { panic!("{found:?}") };
        (leak["verdict"].clone(), number(leak, "close_wait_ns"))
    };
    // Probed, when the peer has been heard from later than it closed.
    until("a probe is answered", || {
        let (verdict, age_ns) = judged();
        assert_eq!(verdict, "eof_read", "after {age_ns} ns");
        monotonic_ns() - entered_ns > age_ns + SECOND
    });
}
