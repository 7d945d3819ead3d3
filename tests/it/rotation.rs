//! Long sessions in several files: no record is lost between them, each file can be read by itself, and the limits on
//! their number and size hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::churn::churn;
use crate::support::recorder::{Recorder, files, gaps, is_all, lines, read, received, transitions};
use crate::support::until;

live_tests! {
    rotation_under_load_loses_no_record_at_the_seams,
    sighup_begins_a_new_file_where_the_present_one_was_moved_away_and_loses_nothing,
    old_files_are_removed_and_age_begins_a_new_one,
    all_files_together_stay_below_the_limit_and_an_earlier_session_is_moved_away_too,
    sighup_ends_a_session_without_files_and_one_whose_terminal_has_gone,
}

/// Enough for several files of the sizes that are asked for.
const CONNECTIONS: u64 = 3_000;
const TRANSITIONS: u64 = 30_002;

/// All records of these files, in order. Each file has to begin with a header, and only the last may have a summary.
fn joined(paths: &[PathBuf], records: impl Fn(&Path) -> Vec<Value>) -> Vec<Value> {
    let mut all = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let records = records(path);
        assert_eq!(records[0]["type"], "header", "{}", path.display());
        let is_last = index + 1 == paths.len();
        let summaries = records.iter().filter(|record| record["type"] == "summary").count();
        assert_eq!(summaries, usize::from(is_last), "summaries in {}", path.display());
        all.extend(records);
    }
    all
}

fn rotation_under_load_loses_no_record_at_the_seams() {
    let forms = [
        ("x.jsonl", "1M", CONNECTIONS),
        ("x.jsonl.zst", "64K", CONNECTIONS),
        ("x.tct", "64K", CONNECTIONS),
        ("x.tct.zst", "64K", 3 * CONNECTIONS),
    ];
    for (name, size, connections) in forms {
        let expected = 10 * connections + 2;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let recorder = Recorder::start(&[&path], &["--rotate-size", size]);
        churn(connections, recorder.port, 4);
        recorder.stop().is_well();
        let files = files(folder.path());
        assert!(files.len() >= 3, "{name}: {files:?}");
        assert_eq!(files.last(), Some(&path), "the present file keeps its name, which sorts last");
        let limit = if size == "1M" { 1 << 20 } else { 64 << 10 };
        for file in &files {
            assert!(fs::metadata(file).unwrap().len() <= limit, "{} is too large", file.display());
        }
        let records = joined(&files, |path| if name.contains("jsonl") { lines(path) } else { read(path).0 });
        let recorded = transitions(&records).len() as u64;
        let summary = records.last().unwrap();
        assert_eq!(recorded, received(summary, expected), "{name}: {}", gaps(&records));
        let numbered = records.iter().filter(|record| record["ktime_ns"].is_u64()).count() as u64;
        assert_eq!(numbered, recorded, "{name}");
        assert_eq!(summary["dropped"], 0, "{name}");
        if name.starts_with("x.tct") {
            for file in &files {
                let losses = read(file).1;
                assert!(
                    losses.missing == 0 && losses.damaged == 0 && !losses.is_cut,
                    "{}: {losses:?}",
                    file.display()
                );
            }
        }
    }
}

fn sighup_begins_a_new_file_where_the_present_one_was_moved_away_and_loses_nothing() {
    for name in ["x.jsonl", "x.csv", "x.tct.zst"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let recorder = Recorder::start(&[&path], &["--flush", "20ms"]);
        let port = recorder.port;
        let load = std::thread::spawn(move || churn(CONNECTIONS, port, 4));
        let mut moved = Vec::new();
        for number in 1..=4 {
            // Where the file is still there, the session appends to it.
            recorder.process.signal(Signal::HUP);
            let target = folder.path().join(format!("{name}.{number}"));
            fs::rename(&path, &target).unwrap();
            recorder.process.signal(Signal::HUP);
            until("there is a new file", || fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0));
            moved.push(target);
        }
        load.join().unwrap();
        let ended = recorder.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.messages);
        moved.push(path.clone());
        if name == "x.csv" {
            let mut rows = 0_u64;
            for file in &moved {
                let mut reader = csv::Reader::from_path(file).unwrap();
                assert_eq!(reader.headers().unwrap().get(0), Some("type"), "{}", file.display());
                let whole: Vec<csv::StringRecord> =
                    reader.records().collect::<Result<_, _>>().expect("whole rows");
                rows += whole.len() as u64;
            }
            assert!(is_all(rows, TRANSITIONS), "{rows} rows");
            continue;
        }
        let records = joined(&moved, |path| if name == "x.jsonl" { lines(path) } else { read_renamed(path) });
        let expected = received(records.last().unwrap(), TRANSITIONS);
        assert_eq!(transitions(&records).len() as u64, expected, "{name}: {}", gaps(&records));
    }
}

/// Reads a file whose name no longer ends with its form, as logrotate leaves it: the reader goes by the content.
fn read_renamed(path: &Path) -> Vec<Value> {
    let (records, losses) = read(path);
    assert!(losses.missing == 0 && losses.damaged == 0 && !losses.is_cut, "{}: {losses:?}", path.display());
    records
}

fn old_files_are_removed_and_age_begins_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let stranger = folder.path().join("x-notes.jsonl");
    fs::write(&stranger, "precious").unwrap();
    let path = folder.path().join("x.jsonl");
    let options = ["--rotate-size", "1M", "--rotate-every", "1s", "--keep", "3", "--flush", "20ms"];
    let recorder = Recorder::start(&[&path], &options);
    churn(CONNECTIONS, recorder.port, 4);
    // In the middle of a rotation the file is away too, and on a slow machine fewer have been moved by then.
    // A file is moved before the oldest is removed.
    let are_moved = || !path.exists() && files(folder.path()).len() == 3 + 1;
    until("the last of three files is moved away because of its age, and the stranger's stays", are_moved);
    recorder.stop().is_well();
    assert_eq!(lines(&path).last().unwrap()["type"], "summary", "the summary is in a file of its own");
    assert_eq!(fs::read_to_string(&stranger).unwrap(), "precious");
}

fn all_files_together_stay_below_the_limit_and_an_earlier_session_is_moved_away_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let options = ["--rotate-size", "512K", "--max-total", "2M"];
    for _ in 0..2 {
        let recorder = Recorder::start(&[&path], &options);
        churn(CONNECTIONS, recorder.port, 4);
        recorder.stop().is_well();
        let total: u64 = files(folder.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        assert!(total <= 2 << 20, "{total} bytes in {:?}", files(folder.path()));
        assert!(total > 1 << 20, "{total} bytes in {:?}", files(folder.path()));
        assert_eq!(lines(&path).last().unwrap()["type"], "summary");
    }
    // A third session, with few records: those of the second are still there.
    let recorder = Recorder::start(&[&path], &options);
    recorder.stop().is_well();
    let moved: Vec<PathBuf> = files(folder.path()).into_iter().filter(|file| *file != path).collect();
    assert_eq!(lines(moved.last().unwrap()).last().unwrap()["type"], "summary", "{moved:?}");
}

fn sighup_ends_a_session_without_files_and_one_whose_terminal_has_gone() {
    let mut recorder = Recorder::launch(&mut Recorder::command(1, &[], &["--format", "jsonl"]), 1);
    std::io::Read::read_exact(&mut recorder.stdout, &mut [0]).expect("the header");
    recorder.process.signal(Signal::HUP);
    recorder.finish().is_well();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    // A terminal that goes away: `script` runs the session on one of its own, and is killed.
    let session = format!("exec {} trace --port 1 -q -o {}", crate::support::TCPTRACE, path.display());
    let mut script = Command::new("script");
    script.args(["-q", "-c", &session, "/dev/null"]);
    let recorder = Recorder::launch(&mut script, 1);
    until("the session has begun", || fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0));
    recorder.process.signal(Signal::KILL);
    until("the session has ended", || lines(&path).last().is_some_and(|record| record["type"] == "summary"));
}
