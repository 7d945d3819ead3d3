//! How sessions begin and end: signals, durations, outputs that fail, exit codes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::churn::churn;
use crate::support::compare::number;
use crate::support::leaky::Leaky;
use crate::support::process::{Process, close_for_all};
use crate::support::run::{run, run_command};
use crate::support::tracer::Tracer;
use crate::support::{Backend, EverybodysTool, TCPTRACE, free_port, until};

live_tests! {
    a_signal_ends_a_session_with_its_summary,
    the_header_says_who_speaks_and_since_when,
    a_duration_ends_a_session_by_itself,
    a_bare_command_line_watches_for_leaks,
    the_exit_code_tells_of_leaks_only_when_it_is_asked_to,
    an_ordinary_user_is_told_that_root_is_needed,
    an_output_file_that_somebody_planted_is_refused,
    an_output_that_cannot_be_written_ends_the_session_and_is_named,
    an_output_file_holds_what_standard_output_would,
    a_reader_that_has_had_enough_is_no_error,
    a_reader_that_goes_while_nothing_is_written_ends_the_session,
}

/// A shell that runs a command in the background has it ignore SIGINT.
#[test]
fn an_interrupt_ends_what_was_started_to_ignore_it_before_it_handles_signals() {
    let mut shell = Command::new("sh");
    // What it reads never comes: it handles no signals.
    shell.args(["-c", "trap '' INT; exec \"$0\" report -", TCPTRACE]);
    let (mut process, _stdout) = Process::start(&mut shell);
    let status = format!("/proc/{}/status", process.pid());
    until("SIGINT is not ignored", || {
        let text = std::fs::read_to_string(&status).unwrap();
        let is_tool = text.starts_with("Name:\ttcptrace\n");
        let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        is_tool && u64::from_str_radix(ignored, 16).unwrap() & 0b10 == 0
    });
    process.signal(Signal::INT);
    assert_eq!(process.wait().signal(), Some(Signal::INT.as_raw()), "{}", process.messages());
}

/// As `tcptrace leaks | less`, and q.
fn a_reader_that_goes_while_nothing_is_written_ends_the_session() {
    let port = free_port().to_string();
    for (name, filter) in [("leaks", "--lport"), ("trace", "--lport"), ("time-wait", "--rport")] {
        let mut command = Command::new(TCPTRACE);
        command.args([name, filter, &port, "--format", "jsonl", "--duration", "10m"]);
        let (mut process, stdout) = Process::start(&mut command);
        let mut header = String::new();
        BufReader::new(stdout).read_line(&mut header).expect("a line");
        assert!(header.contains("\"header\""), "{name}: {header}");
        assert_eq!(process.wait().code(), Some(0), "{name}: {}", process.messages());
    }
}

fn a_signal_ends_a_session_with_its_summary() {
    for command in ["leaks", "trace"] {
        for signal in [Signal::INT, Signal::TERM] {
            let tracer = Tracer::start_plain(&[command]);
            tracer.signal(signal);
            let session = tracer.finish();
            session.summary();
            assert_eq!(session.records[0]["type"], "header", "{command}: the first record");
            let ends = ["header", "summary"];
            let ends = session.records.iter().filter(|record| ends.iter().any(|end| record["type"] == *end));
            assert_eq!(ends.count(), 2, "{command}: one header and one summary");
        }
    }
}

fn the_header_says_who_speaks_and_since_when() {
    let session = Tracer::start(Backend::Tracepoint, &["trace", "--state", "LISTEN"]).stop();
    let header = &session.records[0];
    let read = |path: &str| std::fs::read_to_string(path).unwrap().trim().to_owned();
    assert_eq!(header["type"], "header");
    assert_eq!(header["schema"], 1);
    assert_eq!(header["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(header["host"], read("/proc/sys/kernel/hostname"));
    assert_eq!(header["kernel"], read("/proc/sys/kernel/osrelease"));
    assert_eq!(header["boot_id"], read("/proc/sys/kernel/random/boot_id"));
    assert_eq!(header["backend"], "tracepoint");
    let command = header["command"].as_str().expect("a command line");
    assert!(command.contains("trace --state LISTEN"), "{command}");
    let started: jiff::Timestamp = header["started"].as_str().unwrap().parse().expect("RFC 3339");
    let age = jiff::Timestamp::now().duration_since(started).as_secs();
    assert!((0..60).contains(&age), "started {started}, {age} s ago");
}

fn a_duration_ends_a_session_by_itself() {
    for command in ["leaks", "trace"] {
        let session = Tracer::start_plain(&[command, "--duration", "300ms"]).finish();
        let duration = number(session.summary(), "duration_ns");
        assert!(duration >= 300_000_000, "{command} ended after {duration} ns");
    }
}

fn a_bare_command_line_watches_for_leaks() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let tracer = Tracer::start_plain(&["--older-than", "0s"]);
    tracer.wait_for_each("leak", &leaky.truths);
    tracer.stop().summary();
}

fn the_exit_code_tells_of_leaks_only_when_it_is_asked_to() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = leaky.truth().lport.to_string();
    let nobody = free_port().to_string();
    for (port, asked, code) in [(&port, true, 1), (&port, false, 0), (&nobody, true, 0)] {
        let mut arguments = vec!["leaks", "--older-than", "0s", "--lport", port.as_str()];
        arguments.extend(asked.then_some("--exit-code"));
        let tracer = Tracer::start_plain(&arguments);
        if *port != nobody {
            tracer.wait_for_each("leak", &leaky.truths);
        }
        let session = tracer.stop();
        assert_eq!(session.code, Some(code), "{arguments:?}; its messages:\n{}", session.messages);
        assert_eq!(session.records.last().unwrap()["type"], "summary", "{arguments:?}");
    }
}

fn an_ordinary_user_is_told_that_root_is_needed() {
    let tool = EverybodysTool::new();
    for command in ["leaks", "trace"] {
        let ran = run_command(tool.command().arg(command).uid(65_534).gid(65_534));
        ran.refuses(3, &["root", "sudo"]);
    }
}

fn an_output_file_that_somebody_planted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (victim, link) = (folder.path().join("victim"), folder.path().join("out.jsonl"));
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    run(&["trace", "--output", link.to_str().unwrap()]).refuses(2, &["out.jsonl", "symbolic link"]);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");

    let missing = folder.path().join("no/such/folder/out.jsonl");
    run(&["leaks", "--output", missing.to_str().unwrap()]).refuses(2, &["out.jsonl", "directory"]);
}

fn an_output_that_cannot_be_written_ends_the_session_and_is_named() {
    for command in ["leaks", "trace"] {
        let ran = run(&[command, "--format", "jsonl", "--output", "/dev/full", "--duration", "10s"]);
        ran.refuses(4, &["/dev/full", "incomplete"]);
    }
}

fn an_output_file_holds_what_standard_output_would() {
    let folder = tempfile::tempdir().unwrap();
    let (path, port) = (folder.path().join("out.jsonl"), free_port());
    let arguments = ["trace", "--port", &port.to_string(), "--output", path.to_str().unwrap()];
    let (mut process, _stdout) = Process::start(Command::new(TCPTRACE).args(arguments));
    until("the header is in the file", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))
    });
    churn(10, port, 4);
    process.signal(Signal::INT);
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());
    let records: Vec<Value> = BufReader::new(std::fs::File::open(&path).unwrap())
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).expect("a line of JSON"))
        .collect();
    assert_eq!(records.len(), 1 + 102 + 1, "header, transitions, summary");
    assert_eq!(records[0]["type"], "header");
    assert_eq!(records.last().unwrap()["type"], "summary");
    assert_eq!(records.last().unwrap()["records"], 102);
}

fn a_reader_that_has_had_enough_is_no_error() {
    for format in ["jsonl", "text"] {
        let port = free_port();
        let arguments = ["trace", "--port", &port.to_string(), "--format", format];
        let (mut process, mut stdout) = Process::start(Command::new(TCPTRACE).args(arguments));
        if format == "jsonl" {
            stdout.read_exact(&mut [0]).expect("the header");
        } else {
            // Text has no header: the first line is the first transition.
            until("a transition is printed", || {
                churn(1, port, 4);
                rustix::io::ioctl_fionread(&stdout).is_ok_and(|bytes| bytes > 0)
            });
        }
        close_for_all(stdout);
        churn(5, port, 4);
        assert_eq!(process.wait().code(), Some(0), "{format}: {}", process.messages());
        assert_eq!(process.messages(), "", "{format}: it printed messages");
    }
}
