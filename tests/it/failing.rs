//! Outputs that fail while a session goes on: the tool reports each failure once, keeps the other outputs whole, counts
//! what is missing, and ends with the exit code for it.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::churn::churn;
use crate::support::compare::number;
use crate::support::recorder::{
    Ended, Recorder, content, files, gaps, is_all, lines, read, received, transitions,
};
use crate::support::run::run;
use crate::support::tmpfs::Tmpfs;
use crate::support::until;

live_tests! {
    a_full_disk_is_told_once_and_what_is_on_it_can_be_read,
    a_disk_that_has_room_again_gets_everything_that_waited,
    a_limit_on_the_size_of_files_does_not_kill_the_session,
    a_directory_that_vanishes_is_told_and_a_new_one_is_used,
    a_directory_that_cannot_be_written_is_refused_at_the_start,
    a_reader_that_stalls_costs_its_own_output_records_and_the_session_nothing,
    a_stalled_fifo_does_not_keep_the_session_from_ending,
    a_second_signal_ends_the_wait_for_a_reader_of_standard_output,
    a_device_that_is_always_full_ends_the_session_with_its_exit_code,
}

/// About 7 MB of JSON Lines.
const CONNECTIONS: u64 = 2_000;
const TRANSITIONS: u64 = 20_002;

/// More than the queue and the pipe of a stalled output hold: 64 MiB are 200,000 lines.
const MANY_CONNECTIONS: u64 = 23_000;
const MANY_TRANSITIONS: u64 = 230_002;

/// How many records are missing in a file, by the tool's message.
fn missing(messages: &str, name: &str) -> u64 {
    let before = messages.split(&format!(" missing in {name}")).next().unwrap();
    let words: Vec<&str> = before.rsplit([' ', ':']).filter(|word| !word.is_empty()).collect();
    words.get(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no number in {messages}"))
}

/// How many messages say that a file cannot be written.
fn complaints(messages: &str) -> usize {
    messages.matches("cannot write to").count()
}

fn a_full_disk_is_told_once_and_what_is_on_it_can_be_read() {
    let (disk, folder) = (Tmpfs::of(2 << 20), tempfile::tempdir().unwrap());
    let other = folder.path().join("y.jsonl");
    // A recording is small, so less of the disk is left for it: more than it writes in one piece, however fast the
    // records come (256 KiB), and less than they all take (400 KB).
    for (name, connections, room) in [("x.jsonl", CONNECTIONS, 2 << 20), ("x.tct", 9_000, 300 << 10)] {
        let path = disk.path().join(name);
        fs::write(disk.path().join("ballast"), vec![0; (2 << 20) - room]).unwrap();
        let recorder = Recorder::start(&[&path, &other], &["--flush", "20ms"]);
        churn(connections, recorder.port, 4);
        let ended = recorder.stop();
        ended.says(4, &[name, "No space left on device", "incomplete"]);
        assert_eq!(complaints(&ended.messages), 1, "{}", ended.messages);
        let (records, losses) = read(&path);
        let found = transitions(&records).len() as u64;
        let missing = missing(&ended.messages, path.to_str().unwrap());
        // The summary is a record too, and may still have found room.
        let summaries = u64::from(losses.has_ended);
        let whole = lines(&other);
        let expected = received(whole.last().unwrap(), connections * 10 + 2);
        assert_eq!(
            found + summaries + missing,
            expected + 1,
            "{name}: records that were read, and those reported as missing"
        );
        assert!(found > 1_000 && !losses.is_cut && losses.damaged == 0, "{name}: {losses:?}");
        assert_eq!(transitions(&whole).len() as u64, expected, "the other file");
        assert_eq!(whole.last().unwrap()["dropped"], 0, "nothing is missing in the other file");
        fs::remove_file(&path).unwrap();
    }
}

fn a_disk_that_has_room_again_gets_everything_that_waited() {
    for name in ["x.jsonl", "x.jsonl.zst", "x.tct"] {
        let disk = Tmpfs::of(12 << 20);
        let (path, ballast) = (disk.path().join(name), disk.path().join("ballast"));
        fs::write(&ballast, vec![0; (12 << 20) - (20 << 10)]).unwrap();
        let recorder = Recorder::start(&[&path], &["--flush", "20ms"]);
        churn(CONNECTIONS, recorder.port, 4);
        until("the tool reports the full disk", || complaints(&recorder.process.messages()) == 1);
        fs::remove_file(&ballast).unwrap();
        until("the tool writes again", || recorder.process.messages().contains("can be written again"));
        let ended = recorder.stop();
        assert_eq!(ended.code, Some(0), "everything is written after all: {}", ended.messages);
        let (records, losses) = read(&path);
        let expected = received(records.last().unwrap(), TRANSITIONS);
        assert_eq!(transitions(&records).len() as u64, expected, "{name}: {losses:?}");
        assert_eq!(records.last().unwrap()["dropped"], 0);
        assert!(losses.damaged == 0 && !losses.is_cut && losses.missing == 0, "{name}: {losses:?}");
    }
}

fn a_limit_on_the_size_of_files_does_not_kill_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let recorder = Recorder::start_limited(&[&path], &[], 1 << 20);
    churn(CONNECTIONS, recorder.port, 4);
    let ended = recorder.stop();
    ended.says(4, &["x.jsonl", "File too large", "incomplete"]);
    assert_eq!(complaints(&ended.messages), 1, "{}", ended.messages);
    let records = lines(&path);
    let summaries = records.iter().filter(|record| record["type"] == "summary").count() as u64;
    let found = transitions(&records).len() as u64 + summaries;
    let missing = missing(&ended.messages, path.to_str().unwrap());
    assert!(is_all(found + missing - 1, TRANSITIONS), "{found} found, {missing} missing");

    // With rotation, a new file begins at the limit.
    fs::remove_file(&path).unwrap();
    let recorder = Recorder::start_limited(&[&path], &["--rotate-size", "100M"], 1 << 20);
    churn(CONNECTIONS, recorder.port, 4);
    recorder.stop().is_well();
    let files = files(folder.path());
    assert!(files.len() > 5, "{files:?}");
    let records: Vec<Value> = files.iter().flat_map(|file| lines(file)).collect();
    assert_eq!(transitions(&records).len() as u64, received(records.last().unwrap(), TRANSITIONS));
}

fn a_directory_that_vanishes_is_told_and_a_new_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("logs");
    let path = directory.join("x.jsonl");
    fs::create_dir(&directory).unwrap();
    let recorder = Recorder::start(&[&path], &["--flush", "20ms"]);
    let port = recorder.port;
    churn(CONNECTIONS, port, 4);
    until("records are in the file", || fs::metadata(&path).unwrap().len() > 1 << 20);
    fs::remove_dir_all(&directory).unwrap();
    churn(CONNECTIONS, port, 4);
    until("the tool reports the removal", || complaints(&recorder.process.messages()) == 1);
    fs::create_dir(&directory).unwrap();
    until("there is a new file", || fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 1000));
    let ended = recorder.stop();
    ended.says(4, &["x.jsonl", "removed", "incomplete"]);
    assert_eq!(complaints(&ended.messages), 1, "{}", ended.messages);
    let records = lines(&path);
    assert_eq!(records[0]["type"], "header");
    let found = transitions(&records).len() as u64;
    let dropped = number(records.last().unwrap(), "dropped");
    let expected = received(records.last().unwrap(), 2 * TRANSITIONS);
    assert_eq!(found + dropped, expected, "transitions that were read, and those reported as missing");
    assert_eq!(dropped, missing(&ended.messages, path.to_str().unwrap()));
}

fn a_directory_that_cannot_be_written_is_refused_at_the_start() {
    let disk = Tmpfs::of(1 << 20);
    disk.make_read_only();
    let path = disk.path().join("x.jsonl");
    for command in ["trace", "leaks", "now"] {
        run(&[command, "-o", path.to_str().unwrap()])
            .refuses(2, &["x.jsonl", "Read-only", "another directory"]);
    }
}

fn a_reader_that_stalls_costs_its_own_output_records_and_the_session_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    // A ring that holds the whole load: on a busy machine the session would lose too much of it to stall an output.
    let options = ["--format", "jsonl", "--ring-size", "64M"];
    let Recorder { port, mut process, mut stdout } = Recorder::start(&[&path, Path::new("-")], &options);
    churn(MANY_CONNECTIONS, port, 4);
    until("the tool reports the slow output", || process.messages().contains("more slowly than they come"));
    until("the other output has everything", || {
        // Everything but the summary and what --flush holds back.
        fs::metadata(&path).unwrap().len() > MANY_TRANSITIONS * 300
    });
    process.signal(Signal::INT);
    // The reader wakes up, and gets what is queued and the summary.
    let mut output = Vec::new();
    stdout.read_to_end(&mut output).unwrap();
    let ended = Ended::of(process.wait().code(), &process.messages());
    assert_eq!(ended.code, Some(4), "{}", ended.messages);
    let records: Vec<Value> = output
        .strip_suffix(b"\n")
        .expect("whole lines")
        .split(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect();
    let summary = records.last().unwrap();
    let dropped = number(summary, "dropped");
    assert!(dropped > 0, "{summary}");
    let expected = received(summary, MANY_TRANSITIONS);
    let whole = lines(&path);
    assert_eq!(transitions(&whole).len() as u64, expected, "the other output: {}", gaps(&whole));
    assert_eq!(
        transitions(&records).len() as u64 + dropped,
        expected,
        "transitions that were read, and those reported as missing"
    );
    let seen: HashSet<String> = transitions(&whole);
    assert!(transitions(&records).is_subset(&seen), "the slow output invents a transition");
    assert_eq!(whole.last().unwrap()["dropped"], 0);
}

fn a_stalled_fifo_does_not_keep_the_session_from_ending() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("x.jsonl");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    run(&["trace", "-o", fifo.to_str().unwrap()]).refuses(2, &["x.jsonl", "start its reader"]);
    let reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let port = crate::support::free_port();
    let recorder = Recorder::launch(&mut Recorder::command(port, &[&fifo], &[]), port);
    until("the header is written", || rustix::io::ioctl_fionread(&reader).is_ok_and(|bytes| bytes > 0));
    churn(CONNECTIONS, port, 4);
    let asked = Instant::now();
    let ended = recorder.stop();
    ended.says(4, &["x.jsonl", "taken nothing for ten seconds", "incomplete"]);
    assert!(asked.elapsed() < Duration::from_secs(20), "the end took {:?}", asked.elapsed());
    assert!(missing(&ended.messages, fifo.to_str().unwrap()) > TRANSITIONS / 2, "{}", ended.messages);
}

fn a_second_signal_ends_the_wait_for_a_reader_of_standard_output() {
    let port = crate::support::free_port();
    let recorder = Recorder::launch(&mut Recorder::command(port, &[], &["--format", "jsonl"]), port);
    until("the header is written", || {
        rustix::io::ioctl_fionread(&recorder.stdout).is_ok_and(|bytes| bytes > 0)
    });
    churn(CONNECTIONS, port, 4);
    recorder.process.signal(Signal::INT);
    until("the tool waits for the reader", || recorder.process.messages().contains("waiting for the reader"));
    recorder.process.signal(Signal::INT);
    let Recorder { mut process, stdout, port: _ } = recorder;
    assert_eq!(process.wait().code(), Some(4), "{}", process.messages());
    assert!(process.messages().contains("incomplete"), "{}", process.messages());
    drop(stdout);
}

fn a_device_that_is_always_full_ends_the_session_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl.zst");
    for command in ["leaks", "trace", "now"] {
        let mut arguments = vec![command, "--lport", "1", "--format", "jsonl", "-o", "/dev/full"];
        arguments.extend(["-o", path.to_str().unwrap()]);
        if command != "now" {
            arguments.extend(["--duration", "300ms"]);
        }
        let ran = run(&arguments);
        ran.refuses(4, &["/dev/full", "No space left", "incomplete"]);
        let content = content(&path);
        assert!(
            content.ends_with(b"}\n") && content.starts_with(b"{\"type\":\"header\""),
            "the other output"
        );
    }
}
