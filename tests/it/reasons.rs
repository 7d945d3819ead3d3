//! Why sockets leak: programs whose reason is known, and programs that only look like them, against the reasons that a
//! session gives, one that starts afterwards, and one look.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::support::leaky::Leaky;
use crate::support::reasons::judge;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;
use crate::support::{Backend, can_read_every_process, turn};

live_tests! {
    plain_leaks_have_plain_reasons,
    last_words_are_told_from_answers,
    a_late_answer_in_an_unknown_protocol_passes_for_last_words,
    who_blocks_is_told_from_those_behind_it,
    relays_are_told_from_their_likes,
    what_is_in_flight_is_said_to_be_perhaps,
    who_keeps_a_holder_from_running_is_named,
    spinning_is_told_from_work,
    queues_say_why_nobody_accepts,
    generations_are_told_from_children,
}

/// One look at what there is.
const NOW: &str = "now";

/// One look that finds holders without the help of the kernel's iterators.
const FROM_PROC: &str = "now from /proc";

/// A case, and its arguments.
type Case = (&'static str, &'static [&'static str]);

fn plain_leaks_have_plain_reasons() {
    check(&[
        ("accepted_kept", &[]),
        ("eof_unread", &[]),
        ("data_unread", &[]),
        ("connect_kept", &[]),
        ("listener_closed", &[]),
        ("eof_unread_listener_closed", &[]),
        ("half_open", &[]),
        ("idle_in_pool", &[]),
        ("pool_of_server", &[]),
    ]);
}

fn last_words_are_told_from_answers() {
    check(&[("last_words", &[]), ("last_words_known", &[]), ("answers_unread", &[])]);
}

/// docs/limits.md says so. If it is told right one day, the case belongs to the others.
fn a_late_answer_in_an_unknown_protocol_passes_for_last_words() {
    let late = Leaky::start("late_answer_unread", &[]);
    let session = Tracer::start_plain(&["now"]).finish();
    let leaks = late.truth().records("leak", &session.records);
    let [leak] = leaks[..] else { panic!("{leaks:?}") };
    assert_eq!((&leak["verdict"], &leak["because"][0]["id"]), (&"eof_unread".into(), &"last_words".into()));
}

fn who_blocks_is_told_from_those_behind_it() {
    check(&[
        ("sends_to_nobody", &[]),
        ("answers_nobody", &[]),
        ("half_open_elsewhere", &[]),
        ("behind_blocked_write", &[]),
        ("behind_blocked_read", &[]),
        ("reads_since_the_end", &[]),
        ("answers_around_a_wait", &[]),
        ("full_but_not_blocked", &[]),
        ("blocked_in_write", &[]),
    ]);
}

fn relays_are_told_from_their_likes() {
    check(&[
        ("relay_waits", &[]),
        ("relay_waits_for_clients", &[]),
        ("relay_waits_elsewhere", &[]),
        ("relay_far_host_gone", &[]),
        ("relay_leg_full", &[]),
        ("leaks_beside_lingering", &[]),
        ("leaks_beside_half_closed_requests", &[]),
    ]);
}

fn what_is_in_flight_is_said_to_be_perhaps() {
    check(&[("scm_rights_in_flight", &[])]);
}

fn who_keeps_a_holder_from_running_is_named() {
    let mut cases: Vec<Case> = vec![
        ("holder_stopped", &[]),
        ("holder_frozen", &[]),
        ("holder_traced", &[]),
        ("holder_watched", &[]),
        ("holder_uninterruptible", &[]),
        ("thread_uninterruptible", &[]),
        ("holder_sleeping", &[]),
    ];
    let mounts = std::fs::read_to_string("/proc/mounts").expect("mounts");
    let has_old_freezer = |line: &str| line.contains(" cgroup ") && line.contains("freezer");
    if mounts.lines().any(has_old_freezer) {
        cases.push(("holder_frozen", &["--freezer", "1"]));
    }
    check(&cases);
}

fn spinning_is_told_from_work() {
    let _others_have_the_processor_too = turn();
    // Two at a time, because each takes a processor. Who looks at the last one must not be what interrupts it.
    let groups: [&[Case]; 5] = [
        &[("spins_on_eof", &[]), ("computes", &[])],
        &[("spins_reading_eof", &[]), ("computes_in_kernel", &[])],
        &[("spins_in_thread", &[]), ("spins_on_pipe", &[])],
        &[("spins_on_polled_pipe", &[])],
        &[("spins_reading_slowly", &[])],
    ];
    let wrong: Vec<String> = groups.into_iter().filter_map(|group| differences(group).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn queues_say_why_nobody_accepts() {
    check(&[
        ("never_accepted", &["--count", "2"]),
        ("accept_queue_full", &[]),
        ("no_descriptors_left", &[]),
        ("leaks_all_descriptors", &[]),
        ("nobody_accepts", &[]),
        ("nobody_accepts", &["--sleep", "child"]),
        ("nobody_accepts", &["--sleep", "poll"]),
        ("nobody_accepts", &["--sleep", "select"]),
        ("listener_in_flight", &["--count", "2"]),
        ("listener_in_ring", &["--count", "2"]),
        ("event_missed", &[]),
        ("acceptor_stuck", &[]),
    ]);
}

fn generations_are_told_from_children() {
    check(&[
        ("old_generation", &[]),
        ("old_generation_inherited", &[]),
        ("old_generation_handed_on", &[]),
        ("old_generation_upgraded", &[]),
        ("other_program_listens", &[]),
        ("per_connection_child", &[]),
        ("exec_inherited", &[]),
    ]);
}

/// What differs of which socket, and the ways of looking that show it.
type Wrong = BTreeMap<(String, String), Vec<String>>;

fn check(cases: &[Case]) {
    differences(cases).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Builds the cases and compares what each way of looking says about them with the truth.
fn differences(cases: &[Case]) -> Result<(), String> {
    let leaks = ["leaks", "--older-than", "1s"];
    let mut wrong = Wrong::new();
    let tracers = Backend::ALL.map(|backend| Tracer::start(backend, &leaks));
    let leaky: Vec<Leaky> = cases.iter().map(|(case, arguments)| Leaky::start(case, arguments)).collect();
    // Sockets are looked at in the order in which they entered CLOSE_WAIT.
    let last = Leaky::start("accepted_kept", &[]);
    for (tracer, backend) in tracers.into_iter().zip(Backend::ALL) {
        let records = reported(tracer, &last);
        judge_all(&format!("live {}", backend.name()), &leaky, &records, false, &mut wrong);
    }
    for backend in Backend::ALL {
        let tracer = Tracer::start(backend, &leaks);
        let later = Leaky::start("accepted_kept", &[]);
        let records = reported(tracer, &later);
        judge_all(&format!("after {}", backend.name()), &leaky, &records, false, &mut wrong);
    }
    for (way, holders) in [(NOW, "iterator"), (FROM_PROC, "proc")] {
        let session = Tracer::start_plain(&["now", "--holders", holders]).finish();
        if holders == "iterator" || can_read_every_process() {
            session.summary();
        }
        judge_all(way, &leaky, &session.records, true, &mut wrong);
    }
    wrong.retain(|(_, why), ways| why != STARVED || ways.len() == 2 * Backend::ALL.len() + 2);
    let mut text = format!("{} are wrong:", wrong.len());
    for ((truth, why), ways) in &wrong {
        write!(text, "\n{truth}\n    {why}\n    {}", ways.join("; ")).expect("text");
    }
    if wrong.is_empty() { Ok(()) } else { Err(text) }
}

/// What a session has reported when it has reported `last`.
fn reported(tracer: Tracer, last: &Leaky) -> Vec<Value> {
    tracer.wait_for_each("leak", &last.truths);
    tracer.stop().records
}

/// Whether docs/limits.md says that it cannot be told in this way.
fn is_beyond(truth: &Truth, way: &str) -> bool {
    let is_nobodys = truth.verdict.as_deref() == Some("no_holder");
    if way == FROM_PROC && is_nobodys && !can_read_every_process() {
        // Whoever could not be read may hold it.
        return true;
    }
    // A peer that has just stopped reading is one that reads; and nothing in /proc shows that one has acknowledged data, or
    // that a leg which no thread is blocked in writing to takes no more.
    (truth.has_just_been_written_to() && (way == NOW || way == FROM_PROC))
        || ((truth.is_acknowledged_elsewhere() || truth.is_behind_full_leg()) && way == FROM_PROC)
}

/// Why nothing is demanded of a way of looking; one of them has to have told it.
const STARVED: &str = "it hardly had a processor";

/// Whether a thread that is said to be busy had less than half of a processor, or less than all of the only one: then samples
/// may be taken where it runs, and miss the calls of one that calls seldom, as docs/limits.md says.
fn has_waited_for_a_processor(leak: &Value) -> bool {
    let tenths = if std::thread::available_parallelism().is_ok_and(|count| count.get() > 1) { 5 } else { 9 };
    let reasons = leak["because"].as_array().into_iter().flatten();
    reasons.filter(|reason| reason["id"] == "holder_running").any(|reason| {
        let [used, within] = ["cpu_ns", "within_ns"].map(|name| reason[name].as_u64().unwrap());
        used * 10 < within * tenths
    })
}

fn judge_all(way: &str, leaky: &[Leaky], records: &[Value], lists_all: bool, wrong: &mut Wrong) {
    for truth in leaky.iter().flat_map(|leaky| &leaky.truths) {
        if is_beyond(truth, way) {
            continue;
        }
        let is_to_be_reported = lists_all || truth.is_to_be_reported();
        let told = truth.records("leak", records);
        let is_starved =
            truth.case == "spins_reading_slowly" && told.iter().any(|leak| has_waited_for_a_processor(leak));
        let judged =
            if is_starved { Err(STARVED.to_owned()) } else { judge(truth, is_to_be_reported, &told) };
        if let Err(why) = judged {
            wrong.entry((truth.name(), why)).or_default().push(way.to_owned());
        }
    }
}
