//! Sessions that are killed at a random moment under load. What they wrote can be read to its end, and only the end is
//! missing, and what the sessions say they lost. No record is invented.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::churn::command;
use crate::support::connections::is_being_made;
use crate::support::emulated::stretched;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, content, identity, read};
use crate::support::{clock, turn, until};

live_tests! {
    a_session_that_is_killed_leaves_whole_records_without_a_gap,
}

const TIMES: usize = 12;

/// How much may be missing beyond what --flush allows, because the machine may be busy.
const SLACK: Duration = Duration::from_secs(3);

/// Some 700 transitions of JSON Lines, so that six sessions have more in their five forms than the least that is expected.
const MUCH_BYTES: u64 = 256 << 10;

/// By how many places the order of transitions may differ between two sessions: they happen on several CPUs.
const REORDERED: usize = 64;

fn a_session_that_is_killed_leaves_whole_records_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // A session that nobody kills sees the same connections.
    let whole = path("whole.jsonl");
    let reference = Recorder::start(&[&whole], &[]);
    let port = reference.port;
    let turn = turn();
    // Longer connections make fewer transitions, which are still enough to keep a session busy.
    let (load, _output) = Process::start(command(10_000_000, port, 4).args(["--exchanges", "30"]));
    let mut killed = Vec::new();
    for time in 0..TIMES {
        let names =
            ["jsonl", "jsonl.zst", "csv", "tct", "tct.zst"].map(|form| path(&format!("{time}.{form}")));
        let outputs: Vec<&Path> = names.iter().map(std::path::PathBuf::as_path).collect();
        let Recorder { mut process, .. } = Recorder::start_on(port, &outputs, &["--flush", "50ms"]);
        // Every other one has written some hundred records, however busy the machine is.
        if time % 2 == 0 {
            until("there are records", || names[0].metadata().is_ok_and(|file| file.len() > MUCH_BYTES));
        }
        // A random moment.
        std::thread::sleep(Duration::from_micros(clock::monotonic_ns() % 400_000));
        let at = clock::monotonic_ns();
        process.signal(Signal::KILL);
        process.wait();
        killed.push((names, at));
    }
    drop((load, turn));
    let ended = reference.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.messages);
    // Line by line: there are a million records.
    let parse = |line: &[u8]| serde_json::from_slice::<Value>(line).expect("a whole line");
    let text = content(&whole);
    let written = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut lost = 0;
    let all: Vec<String> = written
        .filter_map(|line| {
            let record = parse(line);
            lost = record["lost"].as_u64().unwrap_or(lost);
            identity_in_all(&record)
        })
        .collect();
    let order: HashMap<&str, usize> =
        all.iter().enumerate().map(|(at, identity)| (identity.as_str(), at)).collect();
    assert_eq!(order.len(), all.len(), "transitions of the reference occur twice");
    let reference = Reference { order, lost };
    let mut found = 0;
    for (names, at) in &killed {
        let mut lost = 0;
        let found_in = names.each_ref().map(|name| {
            if name.extension().is_some_and(|ending| ending == "csv") {
                return rows(name);
            }
            let (records, losses) = readable(name);
            lost = lost.max(losses);
            records
        });
        for (records, name) in found_in.iter().zip(names) {
            found += records.len();
            reference.check(records, lost, *at, name);
        }
    }
    assert!(found > TIMES * 1000, "only {found} records in {TIMES} sessions");
}

/// Identifies a transition in all sessions that see it, where anything does.
fn identity_in_all(record: &Value) -> Option<String> {
    if is_being_made(record) { None } else { identity(record) }
}

/// The records that a reader finds, and how many transitions the session says it had lost by then.
fn readable(path: &Path) -> (Vec<Value>, u64) {
    let (records, losses) = read(path);
    assert_eq!(records[0]["type"], "header", "{}", path.display());
    assert!(!losses.has_ended, "{}: a killed session has no summary", path.display());
    assert!(
        losses.damaged == 0 && losses.missing == 0 && losses.dropped == 0,
        "{}: {losses:?}",
        path.display()
    );
    assert_eq!(losses.totals.dropped, 0, "{}", path.display());
    (records, losses.totals.lost)
}

/// The whole rows of a table, with the fields that identify a transition.
fn rows(path: &Path) -> Vec<Value> {
    let content = content(path);
    let end = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut reader = csv::Reader::from_reader(&content[..end]);
    let columns = reader.headers().unwrap().clone();
    let record = |row: csv::StringRecord| {
        let fields = columns.iter().zip(&row).map(|(name, cell)| {
            let is_text = ["type", "old_state", "new_state"].contains(&name);
            let value = if is_text {
                Value::from(cell)
            } else {
                cell.parse::<u64>().map_or(Value::Null, Value::from)
            };
            (name.to_owned(), value)
        });
        Value::Object(fields.collect())
    };
    reader.records().map(|row| record(row.expect("a whole row"))).collect()
}

/// What the session that nobody killed saw.
struct Reference<'a> {
    /// Each transition, with its place in the order.
    order: HashMap<&'a str, usize>,
    /// How many transitions it says it lost.
    lost: u64,
}

impl Reference<'_> {
    /// Compares the records of a session that had lost `lost` transitions.
    fn check(&self, records: &[Value], lost: u64, killed_at: u64, path: &Path) {
        let path = path.display();
        let identities: Vec<String> = records.iter().filter_map(identity_in_all).collect();
        let (mut places, mut unknown) = (Vec::new(), Vec::new());
        for identity in &identities {
            match self.order.get(identity.as_str()) {
                Some(place) => places.push(*place),
                None => unknown.push(identity),
            }
        }
        assert!(unknown.len() as u64 <= self.lost, "{path}: invented: {unknown:?}");
        let known = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), known, "{path}: transitions occur twice");
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return };
        // At both ends, the sessions may have seen transitions in another order.
        let is_within = |place: usize| place >= first + REORDERED && place + REORDERED <= *last;
        let missing: Vec<usize> = places
            .windows(2)
            .flat_map(|pair| pair[0] + 1..pair[1])
            .filter(|place| is_within(*place))
            .collect();
        assert!(
            missing.len() as u64 <= lost,
            "{path}: of {first} to {last} these are missing, and {lost} were lost: {missing:?}"
        );
        let latest = records.iter().filter_map(|record| record["ktime_ns"].as_u64()).max().unwrap_or(0);
        let slack = Duration::from_millis(50) + stretched(SLACK);
        assert!(
            Duration::from_nanos(latest) + slack > Duration::from_nanos(killed_at),
            "{path}: the last {} ms are missing",
            killed_at.saturating_sub(latest) / 1_000_000
        );
    }
}
