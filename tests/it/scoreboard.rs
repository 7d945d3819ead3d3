//! The scoreboard: every way a socket can leak, traced from its beginning and found afterwards by both backends, traced by
//! way of a buffer for each CPU, and listed at one moment. A cell is right or wrong, and one wrong cell fails the test.
//!
//! `--nocapture` shows the matrix of a test that passes.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::Backend;
use crate::support::can_read_every_process;
use crate::support::judge::{judge, judge_listed};
use crate::support::leaky::Leaky;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;

live_tests! {
    the_right_process_is_named_in_every_case,
}

const COLUMNS: [&str; 7] = [
    "live btf",
    "live tracepoint",
    "live perf buffers",
    "after btf",
    "after tracepoint",
    "now",
    "now from /proc",
];

/// Judges all records about one socket.
type Judge = fn(&Truth, &[&Value]) -> Result<(), String>;

/// A case with its sockets, or why this host cannot build it.
struct Row {
    case: String,
    leaky: Result<Leaky, String>,
    /// One for each of [`COLUMNS`].
    cells: Vec<Result<(), String>>,
}

fn the_right_process_is_named_in_every_case() {
    // Leaves a program the time for what it does after the peer has closed.
    let live = ["leaks", "--older-than", "2s"];
    let [btf, tracepoint] = Backend::ALL.map(|backend| Tracer::start(backend, &live));
    let perf = Tracer::start_plain(&[&live[..], &["--transport", "perf"]].concat());
    // `many` is tested in `crowds`, `opener_trap` and `opener_after_burst` in `openers`; `late_answer_unread` is a limit
    // (docs/limits.md).
    let elsewhere = ["many", "opener_trap", "opener_after_burst", "late_answer_unread"];
    let cases = Leaky::cases().into_iter().filter(|case| !elsewhere.contains(&case.as_str()));
    let mut rows: Vec<Row> = cases.map(|case| Row { leaky: build(&case), case, cells: Vec::new() }).collect();
    // The tool inspects sockets in the order in which they entered CLOSE_WAIT: when it has reported the last
    // one, it has reported all that it ever will.
    let last = Leaky::start("accepted_kept", &[]);
    let looked_for = looked_for(&rows);
    for tracer in [btf, tracepoint, perf] {
        tracer.wait_for_each("leak", &last.truths);
        tracer.wait_for_each("leak", &looked_for);
        judge_all(&mut rows, &tracer.stop().records, judge);
    }

    for backend in Backend::ALL {
        build_what_passes(&mut rows);
        let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s"]);
        // A socket that existed before is reported, so the tool knows all of those. Now one more, which is due later
        // than any of them.
        tracer.wait_for_each("leak", &last.truths);
        let later = Leaky::start("accepted_kept", &[]);
        tracer.wait_for_each("leak", &later.truths);
        judge_all(&mut rows, &tracer.stop().records, judge);
    }

    for (holders, judge) in [("iterator", judge_now as Judge), ("proc", judge_from_proc)] {
        build_what_passes(&mut rows);
        let session = Tracer::start_plain(&["now", "--holders", holders]).finish();
        if holders == "iterator" || can_read_every_process() {
            session.summary();
        } else {
            assert_eq!(session.code, Some(4), "{}", session.messages);
        }
        judge_all(&mut rows, &session.records, judge);
    }

    let (matrix, wrong) = show(&rows);
    println!("{matrix}");
    assert!(wrong.is_empty(), "wrong cells:\n{wrong}");
}

fn build(case: &str) -> Result<Leaky, String> {
    let count = if case == "never_accepted_reuseport" { "6" } else { "1" };
    // Those who are never idle would take the processor from all others.
    Leaky::try_start(case, &["--count", count, "--nice", "19"])
}

/// Builds again what may have gone by itself on a slow machine: older kernels end an MPTCP connection a minute after its
/// peer has closed.
fn build_what_passes(rows: &mut [Row]) {
    for row in rows.iter_mut().filter(|row| row.case == "mptcp") {
        row.leaky = build(&row.case);
    }
}

/// Sockets whose connection has ended without an error, which a session looks for every ten seconds only.
fn looked_for(rows: &[Row]) -> Vec<Truth> {
    let is_looked_for = |truth: &&Truth| truth.is_over() && truth.ended.is_none();
    let truths = rows.iter().filter_map(|row| row.leaky.as_ref().ok()).flat_map(|leaky| &leaky.truths);
    truths.filter(is_looked_for).cloned().collect()
}

/// Allows for what one look cannot find out (docs/limits.md): whether a peer that has just stopped reading is gone.
fn judge_now(truth: &Truth, leaks: &[&Value]) -> Result<(), String> {
    judge_listed(truth, leaks).or_else(|why| {
        let half_open = Truth { verdict: Some("half_open".to_owned()), ..truth.clone() };
        if truth.has_just_been_written_to() { judge_listed(&half_open, leaks) } else { Err(why) }
    })
}

/// Allows for what one look through /proc cannot find out (docs/limits.md): in which of several listeners' queues a
/// connection waits, so that all of them are named, the right one among them; descriptors whose connection is over; and
/// that a peer elsewhere acknowledges what is sent after its FIN, not before.
fn judge_from_proc(truth: &Truth, leaks: &[&Value]) -> Result<(), String> {
    if truth.verdict.as_deref() == Some("no_holder") && !can_read_every_process() {
        // Who knows whether a process that may not be read holds it.
        let [leak] = leaks else { return Err(format!("is reported {} times", leaks.len())) };
        let is_open = leak["verdict"].is_null() && leak["unknown_because"] == "processes_not_read";
        return if is_open { Ok(()) } else { Err(format!("is {leak}")) };
    }
    if truth.is_over() && leaks.is_empty() {
        return Ok(());
    }
    if truth.is_acknowledged_elsewhere() {
        return judge_listed(&Truth { verdict: Some("eof_read".to_owned()), ..truth.clone() }, leaks)
            .or_else(|_| judge_listed(truth, leaks));
    }
    if !["never_accepted_reuseport", "never_accepted_wildcard"].contains(&truth.case.as_str()) {
        return judge_now(truth, leaks);
    }
    let [leak] = leaks else { return Err(format!("is reported {} times", leaks.len())) };
    let owners = leak["owners"].as_array().into_iter().flatten();
    let named: Vec<i64> = owners.filter_map(|owner| owner["pid"].as_i64()).collect();
    let is_named = truth.holders.iter().all(|holder| named.contains(&i64::from(holder.pid)));
    if is_named && leak["verdict"] == "never_accepted" { Ok(()) } else { Err(format!("is {leak}")) }
}

/// Adds a column.
fn judge_all(rows: &mut [Row], records: &[Value], judge: Judge) {
    for row in rows {
        let Row { leaky, cells, .. } = row;
        let about = |truth: &Truth| {
            let same = |record: &&Value| {
                let same_cookie = truth.cookie.is_some_and(|cookie| record["cookie"] == cookie);
                record["type"] == "leak" && (truth.is_about(record) || same_cookie)
            };
            records.iter().filter(same).collect::<Vec<_>>()
        };
        let judged = leaky.as_ref().map_err(Clone::clone).and_then(|leaky| {
            let wrong: Vec<String> = leaky
                .truths
                .iter()
                .filter_map(|truth| {
                    judge(truth, &about(truth)).err().map(|why| format!("{} {why}", truth.name()))
                })
                .chain(bystanders(&leaky.truths, records))
                .collect();
            match &wrong[..] {
                [] => Ok(()),
                [only] => Err(only.clone()),
                [first, rest @ ..] => Err(format!("{first}\n    and {} more like it", rest.len())),
            }
        });
        cells.push(judged);
    }
}

/// Describes records that name the peer, or a process that has nothing to do with the socket.
fn bystanders(truths: &[Truth], records: &[Value]) -> Vec<String> {
    let innocent: Vec<i32> =
        truths.iter().flat_map(|truth| [Some(truth.peer_pid), truth.bystander_pid]).flatten().collect();
    let accuses = |record: &&Value| {
        let owners = record["owners"].as_array().into_iter().flatten();
        let mut pids = owners.map(|owner| &owner["pid"]);
        record["type"] == "leak" && pids.any(|pid| innocent.iter().any(|innocent| *pid == *innocent))
    };
    let accused = |record: &Value| format!("names a peer or a bystander, of {innocent:?}: {record}");
    records.iter().filter(accuses).map(accused).collect()
}

/// The matrix, and a description of its wrong cells.
fn show(rows: &[Row]) -> (String, String) {
    let mut matrix = format!("{:<26}", "case");
    for column in COLUMNS {
        write!(matrix, "{column:<18}").unwrap();
    }
    let mut wrong = String::new();
    for Row { case, leaky, cells } in rows {
        write!(matrix, "\n{case:<26}").unwrap();
        for (column, cell) in COLUMNS.iter().zip(cells) {
            let word = match (leaky, cell) {
                (Err(_), _) => "not built",
                (_, Ok(())) => "right",
                (_, Err(_)) => "WRONG",
            };
            write!(matrix, "{word:<18}").unwrap();
            if let Err(why) = cell {
                writeln!(wrong, "{case}, {column}:\n    {why}").unwrap();
            }
        }
    }
    let all: usize = rows.iter().map(|row| row.cells.len()).sum();
    let right = rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.is_ok()).count();
    write!(matrix, "\n{right} of {all} right").unwrap();
    (matrix, wrong)
}
