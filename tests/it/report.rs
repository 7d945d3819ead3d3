//! `tcptrace report`: a program leaks, its session is kept, and the report names the program: offline, without root, in
//! every form.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::leaky::Leaky;
use crate::support::process::Process;
use crate::support::recorder::read;
use crate::support::run::{Ran, run, run_command};
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;
use crate::support::{EverybodysTool, TCPTRACE, golden, kernel_is_at_least, until};

live_tests! {
    the_culprit_of_a_kept_session_is_named_without_root_in_every_form,
    what_ended_and_what_lies_outside_of_the_time_asked_for_is_told_apart,
    a_report_follows_a_session_that_is_still_written,
    a_trace_for_perfetto_has_a_track_a_socket_under_the_process_that_holds_it,
}

const LEAKED: u64 = 5;

/// A user who may read what is in the folder, and is not root.
const NOBODY: u32 = 65_534;

/// The file of a session in which a program leaked, in a folder that everybody may read.
struct Kept {
    folder: TempDir,
    truths: Vec<Truth>,
}

impl Kept {
    /// Traces until all leaks are reported, and until all are closed where `is_closed` says so.
    fn session(arguments: &[&str], file: &str, is_closed: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(file);
        let output = path.to_str().unwrap();
        let tracer = Tracer::start_plain(&[arguments, &["-o", "-", "-o", output]].concat());
        let mut leaky = Leaky::start("accepted_kept", &["--count", &LEAKED.to_string()]);
        tracer.wait_for_each("leak", &leaky.truths);
        if is_closed {
            leaky.close();
            tracer.wait_for_each("leak_end", &leaky.truths);
        }
        tracer.stop().summary();
        if path.extension().is_some_and(|extension| extension == "tct") {
            let (_, losses) = read(&path);
            assert!(losses.is_whole(), "{losses:?}");
        }
        for (path, mode) in [(folder.path(), 0o755), (&path, 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Self { folder, truths: leaky.truths.clone() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The report on the sockets of the leaking program alone.
    fn report(&self, file: &str, more: &[&str]) -> Ran {
        let port = self.port();
        let file = self.path(file);
        run(&[&["report", file.to_str().unwrap(), "--lport", &port], more].concat())
    }

    fn document(&self, file: &str, more: &[&str]) -> Value {
        let ran = self.report(file, &[&["--format", "json"], more].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.messages);
        serde_json::from_str(&ran.output).unwrap_or_else(|error| panic!("{error} in {}", ran.output))
    }

    fn port(&self) -> String {
        self.truths[0].lport.to_string()
    }

    fn culprit(&self) -> i32 {
        self.truths[0].holders[0].pid
    }
}

fn the_culprit_of_a_kept_session_is_named_without_root_in_every_form() {
    let kept = Kept::session(&["trace", "--owners", "--older-than", "1s"], "session.tct", false);
    let (port, culprit) = (kept.port(), kept.culprit());
    let tool = EverybodysTool::new();
    let report = |form: &str| {
        let mut command = tool.command();
        command.args(["report", "--lport", &port, "--format", form]).arg(kept.path("session.tct"));
        let ran = run_command(command.uid(NOBODY).gid(NOBODY));
        assert_eq!(ran.code, Some(0), "{form}: {}", ran.messages);
        ran.output
    };
    let comm = &kept.truths[0].holders[0].comm;
    let answer = format!("{comm} (pid {culprit}) holds all {LEAKED} stuck sockets");

    let text = report("text");
    assert!(text.starts_with(&answer), "{text}");
    let document: Value = serde_json::from_str(&report("json")).unwrap();
    assert_eq!(document["close_wait"]["stuck"], LEAKED, "{document:#}");
    assert_eq!(document["close_wait"]["still_stuck"], LEAKED);
    let processes = document["processes"]["top"].as_array().unwrap();
    assert_eq!(processes.len(), 1, "{processes:#?}");
    assert_eq!((&processes[0]["pid"], &processes[0]["sockets"]), (&culprit.into(), &LEAKED.into()));
    assert_eq!(processes[0]["verdicts"][0]["verdict"], kept.truths[0].verdict.clone().unwrap());
    assert_eq!(document["peers"]["top"][0]["service_port"], kept.truths[0].lport);
    // The peer closed first.
    assert_eq!(document["closed_first"]["by_peer"], LEAKED, "{:#}", document["closed_first"]);
    let page = report("html");
    assert!(page.contains(&format!("pid {culprit}")) && page.starts_with("<!DOCTYPE html>"), "{page}");
}

fn what_ended_and_what_lies_outside_of_the_time_asked_for_is_told_apart() {
    let kept = Kept::session(&["leaks", "--older-than", "1s"], "session.jsonl", true);
    let all = kept.document("session.jsonl", &[]);
    let close_wait = &all["close_wait"];
    assert_eq!((&close_wait["stuck"], &close_wait["still_stuck"]), (&LEAKED.into(), &0.into()), "{all:#}");
    assert_eq!(close_wait["ended"]["closed"], LEAKED, "{all:#}");
    let ids: Vec<&Value> =
        all["cannot_claim"].as_array().unwrap().iter().map(|caveat| &caveat["id"]).collect();
    assert!(ids.contains(&&"only_leaks".into()), "{ids:?}");

    let times =
        |name: &str| all["worst"].as_array().unwrap().iter().map(|socket| socket[name].clone()).collect();
    let (since, until): (Vec<Value>, Vec<Value>) = (times("since"), times("until"));
    let (last_in, first_out) = (latest(&since), earliest(&until));
    // When the last had entered CLOSE_WAIT, none had left it.
    let during = kept.document("session.jsonl", &["--from", &last_in, "--to", &last_in]);
    assert_eq!(during["close_wait"]["still_stuck"], LEAKED, "{during:#}");
    assert!(last_in < first_out);
    let before = kept.document("session.jsonl", &["--to", all["span"]["first"].as_str().unwrap()]);
    assert_eq!(before["close_wait"]["stuck"], 0, "{before:#}");
    let nothing = kept.document("session.jsonl", &["--from", "2099-01-01T00:00:00Z"]);
    assert_eq!(nothing["span"], Value::Null);
    // Relative times, and a time of day.
    assert_eq!(kept.document("session.jsonl", &["--from", "-1h"])["close_wait"]["stuck"], LEAKED);
    assert_eq!(kept.document("session.jsonl", &["--from", "+1h"])["span"], Value::Null);
    // Filters: another process.
    assert_eq!(kept.document("session.jsonl", &["--pid", "1"])["close_wait"]["stuck"], 0);
    let culprit = kept.culprit().to_string();
    assert_eq!(kept.document("session.jsonl", &["--pid", &culprit])["close_wait"]["stuck"], LEAKED);
}

fn latest(times: &[Value]) -> String {
    times.iter().map(|time| time.as_str().unwrap().to_owned()).max().unwrap()
}

fn earliest(times: &[Value]) -> String {
    times.iter().map(|time| time.as_str().unwrap().to_owned()).min().unwrap()
}

fn a_report_follows_a_session_that_is_still_written() {
    let folder = TempDir::new().unwrap();
    let (kept, report) = (folder.path().join("growing.jsonl"), folder.path().join("report.json"));
    let tracer =
        Tracer::start_plain(&["leaks", "--older-than", "0s", "-o", "-", "-o", kept.to_str().unwrap()]);
    let leaky = Leaky::start("accepted_kept", &["--count", "3"]);
    tracer.wait_for_each("leak", &leaky.truths);
    until("the header is in the file", || fs::metadata(&kept).is_ok_and(|metadata| metadata.len() > 0));
    let port = leaky.truths[0].lport.to_string();
    let mut command = Command::new(TCPTRACE);
    command.args(["report", "--follow", "--lport", &port, "-o"]).args([&report, &kept]);
    let (mut process, _stdout) = Process::start(&mut command);
    let still_stuck = || {
        // The report is replaced as a whole: whenever the file exists, it can be read.
        let text = fs::read(&report).ok()?;
        serde_json::from_slice::<Value>(&text).unwrap()["close_wait"]["still_stuck"].as_u64()
    };
    until("the report has the sockets", || still_stuck() == Some(3));
    let mut leaky = leaky;
    leaky.close();
    until("the report has them as gone", || still_stuck() == Some(0));
    process.signal(Signal::INT);
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());
    tracer.stop().summary();
}

fn a_trace_for_perfetto_has_a_track_a_socket_under_the_process_that_holds_it() {
    const STATES: [&str; 4] = ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"];
    let kept = Kept::session(&["trace", "--owners", "--older-than", "1s"], "session.tct", true);
    let ran = kept.report("session.tct", &["--format", "perfetto"]);
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    let trace: Value = serde_json::from_str(&ran.output).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let name = format!("{} (pid {})", kept.truths[0].holders[0].comm, kept.culprit());
    let is_named = |event: &&Value| event["name"] == "process_name" && event["args"]["name"] == name.as_str();
    assert_eq!(events.iter().filter(is_named).count(), 1, "{name} is not named");
    let mut tracks: std::collections::BTreeMap<String, Vec<&Value>> = std::collections::BTreeMap::new();
    for event in events.iter().filter(|event| event["cat"] == "tcp") {
        tracks.entry(event["id"].to_string()).or_default().push(event);
    }
    // Before, nothing tells which connection it is that is being made.
    let is_known_from_the_first = kernel_is_at_least((6, 18));
    let mut leaked = 0;
    for track in tracks.values() {
        let mut open: Vec<&Value> = Vec::new();
        let mut states = Vec::new();
        for event in track {
            match event["ph"].as_str().unwrap() {
                "b" => {
                    states.extend(event["name"].as_str());
                    open.push(event);
                }
                "e" => {
                    let began = open.pop().expect("a slice that ends has begun");
                    assert_eq!(began["name"], event["name"], "{track:#?}");
                    assert!(began["ts"].as_f64() <= event["ts"].as_f64(), "{track:#?}");
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "slices without an end: {open:#?}");
        if track[0]["pid"] == kept.culprit() {
            leaked += 1;
            assert_eq!(states[1..], STATES[usize::from(!is_known_from_the_first)..], "{track:#?}");
        }
    }
    assert_eq!(leaked, LEAKED, "tracks under the process");
}

#[test]
fn what_is_no_recording_or_a_later_one_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let other = write("other.txt", "the quick brown fox\n");
    run(&["report", &other]).refuses(2, &["other.txt", "no recording"]);
    let header = fs::read_to_string(session_of_nothing(folder.path())).unwrap();
    let later = write("later.jsonl", &header.replace("\"schema\":1,", "\"schema\":99,"));
    run(&["report", &later]).refuses(2, &["later.jsonl", "later tcptrace"]);
    run(&["report", "no-such-file.tct"]).refuses(2, &["no-such-file.tct"]);
    run(&["report"]).refuses(2, &["FILE"]);
}

#[test]
fn wrong_times_forms_and_outputs_are_refused_with_a_remedy() {
    let folder = TempDir::new().unwrap();
    let session = session_of_nothing(folder.path());
    let session = session.to_str().unwrap();
    run(&["report", session, "--from", "yesterday"]).refuses(2, &["--from", "-10m", "14:05"]);
    run(&["report", session, "--from", "2026-11-24T15:00:00Z", "--to", "2026-11-24T14:00:00Z"])
        .refuses(2, &["--from", "--to"]);
    run(&["report", session, "-o", "x.pdf"]).refuses(2, &["x.pdf", ".html", "--format"]);
    run(&["report", session, "-o", session, "--format", "json"]).refuses(2, &["one of the recordings"]);
    run(&["report", session, "--follow"]).refuses(2, &["--follow", "-o FILE"]);
    run(&["report", session, "--top", "0"]).refuses(2, &["--top"]);
    let full = run(&["report", session, "-o", "/dev/full", "--format", "html"]);
    full.refuses(4, &["/dev/full", "No space left"]);
    let precious = folder.path().join("precious.json");
    fs::write(&precious, "{\"mine\":true}").unwrap();
    run(&["report", session, "-o", precious.to_str().unwrap()])
        .refuses(2, &["no report of tcptrace", "--force"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "{\"mine\":true}");
}

#[test]
fn a_report_that_is_made_again_takes_the_place_of_the_one_before() {
    let folder = TempDir::new().unwrap();
    let session = session_of_nothing(folder.path());
    for form in ["html", "json", "txt"] {
        let report = folder.path().join(format!("report.{form}"));
        for _ in 0..2 {
            let ran = run(&["report", session.to_str().unwrap(), "-o", report.to_str().unwrap()]);
            assert_eq!(ran.code, Some(0), "{}", ran.messages);
        }
        let text = fs::read_to_string(&report).unwrap();
        assert!(text.contains("No socket was stuck in CLOSE_WAIT"), "{text}");
    }
    // One session given twice is one session.
    let twice = run(&["report", session.to_str().unwrap(), session.to_str().unwrap(), "--format", "json"]);
    let document: Value = serde_json::from_str(&twice.output).unwrap();
    assert_eq!(document["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(document["sessions"][0]["files"].as_array().unwrap().len(), 1, "{document:#}");
}

#[test]
fn a_session_has_one_report_whatever_form_it_was_kept_in() {
    let document = |name: &str| {
        let path = golden(name);
        let ran = run(&["report", path.to_str().unwrap(), "--format", "json", "--older-than", "0s"]);
        assert_eq!(ran.code, Some(0), "{}", ran.messages);
        let mut document: Value = serde_json::from_str(&ran.output).unwrap();
        document["sessions"][0]["files"][0]["name"] = Value::Null;
        document
    };
    let (lines, recording) = (document("v1.jsonl"), document("v1.tct"));
    assert!(lines["close_wait"]["stays"].as_u64() > Some(0), "{lines:#}");
    assert_eq!(lines, recording);
    assert_eq!(recording, document("v1.tct.zst"));
}

/// A session of an hour in which nothing happened.
fn session_of_nothing(folder: &Path) -> PathBuf {
    let path = folder.join("quiet.jsonl");
    let header = r#"{"type":"header","schema":1,"version":"0.1.0","host":"h","kernel":"6.18.0","boot_id":"b","started":"2026-11-24T14:00:00Z","command":"tcptrace leaks","backend":"btf"}"#;
    let summary = r#"{"type":"summary","time":"2026-11-24T15:00:00Z","duration_ns":3600000000000,"records":0,"lost":0,"undecodable":0,"evicted":0,"unattributed":0,"openers_skipped":0,"in_close_wait":0,"processes":[]}"#;
    fs::write(&path, format!("{header}\n{summary}\n")).unwrap();
    path
}
