//! Descriptors whose connection is over: in no list of the kernel, and open until somebody closes them.

use serde_json::Value;

use crate::support::Backend;
use crate::support::clear::{Clear, clear};
use crate::support::clock;
use crate::support::compare::{Comparison, number, text};
use crate::support::leaky::Leaky;
use crate::support::netns::Netns;
use crate::support::own_pair::OwnPair;
use crate::support::process::Process;
use crate::support::run::run;
use crate::support::tracer::{Session, Tracer};
use crate::support::truth::Truth;

on_both_backends! {
    a_reset_is_told_with_its_time_and_the_opener,
    how_one_ended_is_known_until_the_application_has_been_told,
    what_is_closed_later_is_in_no_sum,
    one_that_is_reset_in_close_wait_is_told_of_again,
    one_that_is_shut_down_in_close_wait_is_not_said_to_be_closed,
}

live_tests! {
    a_look_counts_them_and_shows_them_apart,
    what_clear_leaves_behind_is_listed_and_not_touched_again,
}

const COUNT: usize = 5;

/// Starts a case in a network namespace of its own, so that all that is found there belongs to it.
fn apart(case: &str, arguments: &[&str]) -> (Netns, Leaky) {
    let netns = Netns::new();
    let leaky = in_namespace(&netns, case, arguments);
    (netns, leaky)
}

fn in_namespace(netns: &Netns, case: &str, arguments: &[&str]) -> Leaky {
    Leaky::start_by(case, arguments, |command| Process::start(netns.enter(command)))
}

/// One look at a namespace, in JSON Lines.
fn look(netns: &Netns, arguments: &[&str]) -> Clear {
    let inode = netns.inode().to_string();
    Clear::from(run(&[&["now", "--netns", &inode, "--format", "jsonl"], arguments].concat()))
}

fn leaks(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| record["type"] == "leak").collect()
}

fn a_reset_is_told_with_its_time_and_the_opener(backend: Backend) {
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s"]);
    let leaky = Leaky::start("reset_kept", &["--count", "2"]);
    let leaks = tracer.wait_for_each("leak", &leaky.truths);
    for (leak, truth) in leaks.iter().zip(&leaky.truths) {
        let mut comparison = Comparison::of(truth.name());
        comparison.socket(leak, truth);
        comparison.field(leak, "state", "CLOSE");
        comparison.field(leak, "verdict", "connection_over");
        for field in ["close_wait_ns", "close_wait_is", "recv_q", "send_q", "other_end", "keep_alive"] {
            comparison.field(leak, field, Value::Null);
        }
        comparison.field(&leak["over"], "how", "reset");
        let over = clock::monotonic_of(text(leak, "time")).saturating_sub(number(&leak["over"], "ns"));
        let bracket = clock::bracket(truth.entered_before_ns, truth.entered_after_ns);
        comparison.within("time less over.ns", over, &bracket);
        comparison.owners(leak, truth);
        let opener = truth.opener.as_ref().unwrap();
        for (field, expected) in [("pid", opener.pid), ("tid", opener.tid)] {
            comparison.field(&leak["opened_by"], field, expected);
        }
        comparison.field(&leak["opened_by"], "how", opener.how.as_str());
        let is_named = leak["opened_by"]["stack"].as_array().is_some_and(|stack| !stack.is_empty());
        comparison.holds(is_named, || "the opener has no stack".to_owned());
        comparison.finish(&[leak]);
    }
    tracer.stop().summary();
}

fn how_one_ended_is_known_until_the_application_has_been_told(backend: Backend) {
    let how = |tracer: Tracer, truths: &[Truth]| -> Vec<Value> {
        let leaks = tracer.wait_for_each("leak", truths);
        tracer.stop().summary();
        assert!(leaks.iter().all(|leak| leak["verdict"] == "connection_over"), "{leaks:?}");
        leaks.into_iter().map(|leak| leak["over"]["how"].clone()).collect()
    };
    let seen = Tracer::start(backend, &["leaks", "--older-than", "1s"]);
    let untold = Leaky::start("reset_kept", &[]);
    let OwnPair { leaked, truth } = OwnPair::left();
    let told = OwnPair { leaked, truth: truth.clone() }.reset();
    // The end of file has been read, so the error comes with the next write.
    let error = told.send(b"x").map_err(|error| error.raw_os_error());
    assert_eq!(error, Err(Some(libc::EPIPE)), "what the application is told");
    let truths = [untold.truth().clone(), truth];
    assert_eq!(how(seen, &truths), ["reset", "reset"], "seen coming");
    let afterwards = Tracer::start(backend, &["leaks", "--older-than", "200ms"]);
    let leaks = afterwards.wait_for_each("leak", &truths);
    assert!(leaks.iter().all(|leak| leak["over"]["ns"].is_null()), "nobody saw when: {leaks:?}");
    assert!(leaks.iter().all(|leak| leak["opened_by"].is_null()), "nobody saw who: {leaks:?}");
    assert_eq!(how(afterwards, &truths), [Value::from("reset"), Value::Null], "there before");
}

fn what_is_closed_later_is_in_no_sum(backend: Backend) {
    let netns = Netns::new();
    let _inhabitant = netns.inhabitant();
    let inode = netns.inode().to_string();
    let arguments = ["leaks", "--older-than", "500ms", "--netns", &inode];
    let [held, closed] = [(); 2].map(|()| Tracer::start(backend, &arguments));
    let mut leaky = in_namespace(&netns, "reset_kept", &["--count", &COUNT.to_string()]);
    let holder = leaky.truths[0].holders[0].pid;
    for tracer in [&held, &closed] {
        tracer.wait_for_each("leak", &leaky.truths);
    }
    let sums = |session: Session, over: usize| {
        let summary = session.summary();
        assert_eq!(summary["connections_over"], over, "{summary}");
        assert_eq!(summary["in_close_wait"], 0, "{summary}");
        let processes = summary["processes"].as_array().unwrap();
        let [process] = &processes[..] else { panic!("one process, not {processes:?}") };
        assert_eq!(process["pid"], holder, "{process}");
        assert_eq!(process["verdicts"], serde_json::json!({ "connection_over": COUNT }), "{process}");
        assert_eq!(leaks(&session.records).len(), COUNT, "each is told of once");
        let ends = session.records.iter().filter(|record| record["type"] == "leak_end").count();
        assert_eq!(ends, 0, "none was in CLOSE_WAIT");
    };
    sums(held.stop(), COUNT);
    leaky.close();
    sums(closed.stop(), 0);
    assert_eq!(leaks(&look(&netns, &[]).records).len(), 0, "they are closed");
}

fn one_that_is_reset_in_close_wait_is_told_of_again(backend: Backend) {
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "500ms"]);
    let OwnPair { leaked, truth } = OwnPair::left();
    let truths = [truth];
    let leak = tracer.wait_for_each("leak", &truths).remove(0);
    assert_eq!((&leak["state"], &leak["over"]), (&"CLOSE_WAIT".into(), &Value::Null), "{leak}");
    let _kept = OwnPair { leaked, truth: truths[0].clone() }.reset();
    let end = tracer.wait_for_each("leak_end", &truths).remove(0);
    assert_eq!(end["how"], "reset", "{end}");
    let is_it = |record: &Value| record["state"] == "CLOSE" && truths[0].is_about(record);
    let over = tracer.wait_for("the descriptor that stays", is_it);
    assert_eq!((&over["verdict"], &over["over"]["how"]), (&"connection_over".into(), &"reset".into()));
    assert_eq!((&over["cookie"], &over["opened_by"]["pid"]), (&leak["cookie"], &leak["opened_by"]["pid"]));
    assert!(over["opened_by"]["pid"].is_u64(), "the opener is remembered: {over}");
    tracer.stop().summary();
}

fn one_that_is_shut_down_in_close_wait_is_not_said_to_be_closed(backend: Backend) {
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "500ms"]);
    let (kept, closed) = (OwnPair::left(), OwnPair::left());
    let truths = [kept.truth.clone(), closed.truth.clone()];
    let leak = tracer.wait_for_each("leak", &truths).remove(0);
    kept.leaked.shutdown(std::net::Shutdown::Write).unwrap();
    drop(closed.leaked);
    let ends = tracer.wait_for_each("leak_end", &truths);
    assert_eq!((&ends[0]["how"], &ends[1]["how"]), (&"shut_down".into(), &"closed".into()), "{ends:?}");
    assert_eq!(ends[0]["closed_by"]["pid"], std::process::id(), "{}", ends[0]);
    let is_it = |record: &Value| record["state"] == "CLOSE" && truths[0].is_about(record);
    let over = tracer.wait_for("the descriptor that stays", is_it);
    assert_eq!((&over["verdict"], &over["over"]["how"]), (&"connection_over".into(), &"shut_down".into()));
    assert_eq!((&over["cookie"], &over["opened_by"]["pid"]), (&leak["cookie"], &leak["opened_by"]["pid"]));
    assert!(over["opened_by"]["pid"].is_u64(), "the opener is remembered: {over}");
    tracer.stop().summary();
}

fn a_look_counts_them_and_shows_them_apart() {
    let (netns, mut leaky) = apart("reset_kept", &["--count", &COUNT.to_string()]);
    let stuck = in_namespace(&netns, "accepted_kept", &[]);
    let found = look(&netns, &["--exit-code"]);
    let summary = found.records.last().unwrap();
    assert_eq!(summary["connections_over"], COUNT, "{summary}");
    assert_eq!((leaks(&found.records).len(), found.ran.code), (COUNT + 1, Some(1)));

    let inode = netns.inode().to_string();
    let shown = run(&["now", "--netns", &inode]).output;
    let (list, over) = shown.split_once("5 descriptors of connections that are over").expect(&shown);
    let (holder, other) = (leaky.truths[0].holders[0].pid, stuck.truth().holders[0].pid);
    assert!(list.contains("1 socket in CLOSE_WAIT") && list.contains(&format!("({other})")), "{shown}");
    assert!(!list.contains(&format!("({holder})")), "not in the list of CLOSE_WAIT: {shown}");
    assert!(over.contains(&format!("({holder})")) && over.contains("5 reset by the peer"), "{shown}");

    let states = |arguments: &[&str]| -> Vec<String> {
        let found = look(&netns, arguments);
        leaks(&found.records).iter().map(|leak| text(leak, "state").to_owned()).collect()
    };
    assert_eq!(states(&["--state", "CLOSE"]), ["CLOSE"; COUNT], "asked for by their state");
    assert_eq!(states(&["--state", "LISTEN"]), ["LISTEN"; 2], "not asked for");

    // The kernel lists no such socket, and /proc has no more than its number.
    let blind = look(&netns, &["--holders", "proc"]);
    assert_eq!(blind.records.last().unwrap()["connections_over"], Value::Null);
    assert_eq!(leaks(&blind.records).len(), 1);

    leaky.close();
    let found = look(&netns, &[]);
    assert_eq!(found.records.last().unwrap()["connections_over"], 0);
}

fn what_clear_leaves_behind_is_listed_and_not_touched_again() {
    let (netns, mut leaky) = apart("accepted_kept", &["--count", "3"]);
    let arguments = ["--older-than", "0s", "--yes"];
    let session = clear(&leaky.truths, &arguments);
    for truth in &leaky.truths {
        assert_eq!(session.outcome(truth), ("gone", Some(0)), "{}", session.ran.messages);
    }
    let found = look(&netns, &[]);
    for truth in &leaky.truths {
        let [leak] = truth.records("leak", &found.records)[..] else { panic!("{}", found.ran.output) };
        let mut comparison = Comparison::of(truth.name());
        comparison.field(leak, "verdict", "connection_over");
        comparison.field(&leak["over"], "how", "destroyed");
        comparison.owners(leak, truth);
        comparison.finish(&[leak]);
    }
    let again = clear(&leaky.truths, &arguments);
    assert_eq!(again.ran.code, Some(0), "{}", again.ran.messages);
    assert!(again.records.iter().all(|record| record["type"] != "cleared"), "{}", again.ran.output);
    assert_eq!(leaks(&look(&netns, &[]).records).len(), 3, "they stay as they are");
    leaky.close();
    assert_eq!(leaks(&look(&netns, &[]).records).len(), 0);
}
