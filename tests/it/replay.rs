//! `tcptrace trace --replay`: the replay of a session is the live session's output, byte for byte.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::churn::churn;
use crate::support::own_pair::OwnPair;
use crate::support::process::Process;
use crate::support::recorder::read;
use crate::support::run::{Ran, run};
use crate::support::{EverybodysTool, TCPTRACE, free_port, golden, until};

live_tests! {
    a_live_session_and_its_replays_are_the_same_byte_for_byte,
}

/// One session in the forms that can be replayed.
const KEPT: [&str; 3] = ["v1.tct", "v1.tct.zst", "v1.jsonl"];

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Replays a file, in a time zone that is the same everywhere.
fn replay(file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(TCPTRACE);
    command.args(["trace", "--replay"]).arg(file).args(arguments).env("TZ", "UTC");
    command.output().expect("the tool can be started")
}

/// Replays a whole file, and expects no message.
fn replayed(file: &Path, arguments: &[&str]) -> Vec<u8> {
    let Output { status, stdout, stderr } = replay(file, arguments);
    assert_eq!(
        (status.code(), String::from_utf8_lossy(&stderr).as_ref()),
        (Some(0), ""),
        "{}",
        file.display()
    );
    stdout
}

/// Expects two outputs to be equal. The message shows where they part, not all of them.
fn assert_same(output: &[u8], expected: &[u8], what: &str) {
    let at = output.iter().zip(expected).position(|(one, other)| one != other);
    let at = at.unwrap_or(output.len().min(expected.len()));
    let near = |bytes: &[u8]| {
        let part = bytes.get(at.saturating_sub(80)..bytes.len().min(at + 80));
        String::from_utf8_lossy(part.unwrap_or_default()).into_owned()
    };
    assert!(output == expected, "{what}: at byte {at}\n is {:?}\nnot {:?}", near(output), near(expected));
}

#[test]
fn recordings_of_every_version_are_replayed_byte_for_byte() {
    for kept in KEPT {
        for (format, expected) in [("jsonl", "v1.jsonl"), ("text", "v1.txt"), ("csv", "v1.csv")] {
            let printed = replayed(&golden(kept), &["--format", format]);
            assert_same(&printed, &fs::read(golden(expected)).unwrap(), &format!("{kept} as {format}"));
        }
    }
}

#[test]
fn a_recording_is_read_from_standard_input_too() {
    for kept in KEPT {
        let mut command = Command::new(TCPTRACE);
        command
            .args(["trace", "--replay", "-", "--format", "jsonl"])
            .stdin(File::open(golden(kept)).unwrap());
        let printed = command.output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        assert_same(&printed.stdout, &fs::read(golden("v1.jsonl")).unwrap(), kept);
    }
}

#[test]
fn a_replay_needs_no_rights() {
    let tool = EverybodysTool::new();
    let mut command = tool.command();
    command
        .args(["trace", "--replay", "-", "--format", "jsonl"])
        .stdin(File::open(golden("v1.tct")).unwrap());
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let printed = command.output().unwrap();
    assert_same(&printed.stdout, &fs::read(golden("v1.jsonl")).unwrap(), "without rights");
}

#[test]
fn a_replay_can_be_kept_in_any_form_and_replayed_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for kept in KEPT {
        let outputs = ["a.tct", "a.tct.zst", "a.jsonl.zst", "a.jsonl"].map(file);
        let arguments: Vec<&str> = outputs.iter().flat_map(|path| ["-o", text(path)]).collect();
        assert_eq!(replayed(&golden(kept), &arguments), b"");
        for path in &outputs {
            let printed = replayed(path, &["--format", "jsonl"]);
            assert_same(
                &printed,
                &fs::read(golden("v1.jsonl")).unwrap(),
                &format!("{kept} by way of {path:?}"),
            );
        }
    }
}

#[test]
fn a_replay_is_filtered_as_a_live_session_is() {
    let records = |arguments: &[&str]| -> Vec<Value> {
        let printed = replayed(&golden("v1.tct"), &[&["--format", "jsonl"], arguments].concat());
        String::from_utf8(printed).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = records(&[]);
    let check = |arguments: &[&str], wanted: &dyn Fn(&Value) -> bool| {
        let is_about_all = |record: &&Value| record["type"] == "header" || record["type"] == "summary";
        let expected: Vec<&Value> =
            all.iter().filter(|record| is_about_all(record) || wanted(record)).collect();
        assert!(
            (3..all.len()).contains(&expected.len()),
            "{arguments:?} keeps too much or too little to prove anything"
        );
        assert_eq!(records(arguments).iter().collect::<Vec<_>>(), expected, "{arguments:?}");
    };
    check(&["-6"], &|record| record["family"] == 6);
    check(&["--lport", "26401"], &|record| record["lport"] == 26_401);
    check(&["--addr", "::/0", "--rport", "26402"], &|record| {
        record["family"] == 6 && record["rport"] == 26_402
    });
    check(&["--netns", "4026531833"], &|record| record["netns"] == 4_026_531_833_u64);
    check(&["--state", "LISTEN"], &|record| {
        record["type"] != "transition" || record["old_state"] == "LISTEN" || record["new_state"] == "LISTEN"
    });
}

#[test]
fn what_a_replay_cannot_mean_is_refused() {
    let file = golden("v1.tct");
    let of_live = [
        &["--duration", "1s"][..],
        &["--backend", "btf"],
        &["--ring-size", "1M"],
        &["--owners"],
        &["--max-sockets", "9"],
    ];
    for option in of_live {
        let arguments = [&["trace", "--replay", text(&file)], option].concat();
        run(&arguments).refuses(2, &["cannot be used with", option[0]]);
    }
    run(&["trace", "--replay", "/nonexistent.tct"]).refuses(2, &["/nonexistent.tct", "No such file"]);
    run(&["trace", "--replay", "/etc/passwd"]).refuses(2, &["/etc/passwd", "is no recording"]);
}

#[test]
fn a_recording_is_not_written_over_by_its_own_replay() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.tct");
    fs::copy(golden("v1.tct"), &copy).unwrap();
    for option in [&[][..], &["--force"]] {
        let arguments = [&["trace", "--replay", text(&copy), "-o", text(&copy)], option].concat();
        run(&arguments).refuses(2, &["copy.tct", "name another output"]);
    }
    assert_eq!(fs::read(&copy).unwrap(), fs::read(golden("v1.tct")).unwrap());
}

#[test]
fn a_newer_recording_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer.tct");
    let mut bytes = fs::read(golden("v1.tct")).unwrap();
    bytes[8] = 2;
    let named = 12 + usize::from(bytes[10]);
    let checksum = crc32fast::hash(&bytes[..named]).to_le_bytes();
    bytes[named..named + 4].copy_from_slice(&checksum);
    fs::write(&newer, bytes).unwrap();
    let words = ["newer.tct", "version 2", "up to 1", "written by tcptrace 0.1.0"];
    run(&["trace", "--replay", text(&newer)]).refuses(2, &words);
}

#[test]
fn of_a_recording_that_was_cut_all_that_is_there_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(golden("v1.jsonl")).unwrap();
    for kept in KEPT {
        let cut = folder.path().join(kept);
        let bytes = fs::read(golden(kept)).unwrap();
        fs::write(&cut, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let Output { status, stdout, stderr } = replay(&cut, &["--format", "jsonl"]);
        assert_eq!(status.code(), Some(4), "{kept}");
        assert!(stdout.len() > whole.len() / 5, "{kept}: {} bytes", stdout.len());
        assert_same(&stdout, &whole[..stdout.len()], kept);
        let messages = String::from_utf8(stderr).unwrap();
        for word in [kept, "not the whole session", "no summary"] {
            assert!(messages.contains(word), "{word:?} is not in {messages}");
        }
    }
}

#[test]
fn of_a_damaged_recording_all_but_the_damage_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.tct");
    let mut bytes = fs::read(golden("v1.tct")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(&damaged, bytes).unwrap();
    let Output { status, stdout, stderr } = replay(&damaged, &["--format", "jsonl"]);
    assert_eq!(status.code(), Some(4));
    let printed = String::from_utf8(stdout).unwrap();
    let whole = fs::read_to_string(golden("v1.jsonl")).unwrap();
    let mut left = whole.lines();
    assert!(printed.lines().all(|line| left.any(|other| other == line)), "the replay invents a line");
    let messages = String::from_utf8(stderr).unwrap();
    let missing = whole.lines().count() - printed.lines().count();
    assert!((1..=60).contains(&missing), "{missing} records are missing, and a block has 60");
    assert!(messages.contains(&format!("{missing} records are missing")), "{missing}: {messages}");
}

fn a_live_session_and_its_replays_are_the_same_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let names = ["live.tct", "live.tct.zst", "live.jsonl", "live.jsonl.zst", "live.csv", "live.txt"];
    let outputs = names.map(file);
    let pair = OwnPair::left();
    let (churned, leaked) = (free_port(), pair.truth.lport);
    let mut command = Command::new(TCPTRACE);
    command.args(["trace", "--owners", "--older-than", "100ms", "--flush", "100ms"]);
    command.args(["--port", &churned.to_string(), "--port", &leaked.to_string()]);
    command.args(outputs.iter().flat_map(|path| ["-o", text(path)]));
    let (mut process, _stdout) = Process::start(&mut command);
    let is_written = |kind: &str| {
        let lines = fs::read_to_string(&outputs[2]).unwrap_or_default();
        lines.lines().any(|line| line.starts_with(&format!(r#"{{"type":"{kind}""#)))
    };
    until("the leak is in the file", || is_written("leak"));
    churn(200, churned, 4);
    churn(200, churned, 6);
    drop(pair);
    until("its end is in the file", || is_written("leak_end"));
    process.signal(Signal::INT);
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());

    for kept in &outputs[..2] {
        let (_, losses) = read(kept);
        assert!(losses.is_whole(), "{}: {losses:?}", text(kept));
    }
    for kept in &outputs[..4] {
        for expected in &outputs[2..] {
            if expected == &outputs[3] {
                continue;
            }
            let again = file("again").with_extension(expected.extension().unwrap());
            let printed = run(&["trace", "--replay", text(kept), "-o", text(&again)]);
            let Ran { code, output, .. } = &printed;
            assert_eq!((*code, output.as_str()), (Some(0), ""), "{}", printed.messages);
            let what = format!("{} as {}", text(kept), text(expected));
            assert_same(&fs::read(&again).unwrap(), &fs::read(expected).unwrap(), &what);
        }
    }
}
