//! Names that strangers chose: a process whose name and arguments would take control of a terminal.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::own_pair::OwnPair;
use crate::support::process::Process;
use crate::support::recorder::{content, lines, read, report_a_leak};
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;
use crate::support::{Backend, TCPTRACE, until};

live_tests! {
    a_hostile_name_does_not_reach_the_terminal,
    a_hostile_name_is_told_as_it_is_in_json,
    a_hostile_name_reaches_a_command_as_data_and_is_not_run,
    a_hostile_name_is_harmless_in_every_form,
}

/// Clears the screen, starts new lines, sets a colour, and reverses the direction of text. It has fifteen
/// bytes, as many as the kernel keeps of a name.
const NAME: &str = "\x1b[2J\r\n\x1b[31m\u{202e}x";

/// A process of that name, which holds a socket that its peer has closed.
struct Hostile {
    process: Process,
    truth: Truth,
    _folder: tempfile::TempDir,
}

impl Hostile {
    fn start() -> Self {
        Self::start_as(NAME.as_bytes())
    }

    fn start_as(name: &'static [u8]) -> Self {
        assert!(name.len() <= 15, "the length of a comm");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(OsStr::from_bytes(name));
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        let pair = OwnPair::left();
        let number = pair.leaked.as_raw_fd();
        let mut command = Command::new(&program);
        command.arg0("sh").args(["-c", "read line"]).arg(OsStr::from_bytes(name));
        // SAFETY: the closure makes one system call and does not allocate.
        unsafe {
            command.pre_exec(move || {
                // SAFETY: the parent keeps the socket open.
                let socket = std::os::fd::BorrowedFd::borrow_raw(number);
                rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty())?;
                Ok(())
            });
        }
        let (process, _stdout) = Process::start(&mut command);
        let comm = format!("/proc/{}/comm", process.pid());
        until("the program has its name", || {
            std::fs::read(&comm).is_ok_and(|bytes| bytes.strip_suffix(b"\n") == Some(name))
        });
        // From here on the process is the only holder.
        let OwnPair { leaked: _, truth } = pair;
        Self { process, truth, _folder: folder }
    }
}

fn a_hostile_name_does_not_reach_the_terminal() {
    let hostile = Hostile::start();
    let port = hostile.truth.lport.to_string();
    let arguments = ["leaks", "--older-than", "0s", "--lport", &port];
    let (mut process, mut stdout) = Process::start(Command::new(TCPTRACE).args(arguments));
    until("a leak is reported", || rustix::io::ioctl_fionread(stdout.as_fd()).is_ok_and(|bytes| bytes > 0));
    process.signal(Signal::INT);
    let mut output = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut output).expect("text in UTF-8");
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());

    for (stream, text) in [("standard output", &output), ("standard error", &process.messages())] {
        let harmful = |character: &char| {
            (character.is_control() && *character != '\n') || ('\u{202a}'..='\u{202e}').contains(character)
        };
        let found: Vec<char> = text.chars().filter(harmful).collect();
        assert!(found.is_empty(), "control characters on {stream}: {found:?} in\n{text:?}");
    }
    let about_it = |line: &&str| line.contains("LEAK") && line.contains(&hostile.process.pid().to_string());
    assert_eq!(output.lines().filter(about_it).count(), 1, "lines about the leak:\n{output}");
}

fn a_hostile_name_is_told_as_it_is_in_json() {
    let hostile = Hostile::start();
    let tracer = Tracer::start(Backend::Btf, &["leaks", "--older-than", "0s"]);
    let leak = tracer.wait_for_each("leak", std::slice::from_ref(&hostile.truth)).remove(0);
    let owners = leak["owners"].as_array().unwrap();
    let owner = owners.iter().find(|owner| owner["pid"] == hostile.process.pid());
    let owner = owner.unwrap_or_else(|| panic!("pid {} is not named in {leak}", hostile.process.pid()));
    assert_eq!(owner["comm"], NAME);
    assert_eq!(owner["cmdline"], serde_json::json!(["sh", "-c", "read line", NAME]));
    let session = tracer.stop();
    session.summary();
    assert!(session.records.iter().all(Value::is_object), "a line is no JSON object");
}

fn a_hostile_name_reaches_a_command_as_data_and_is_not_run() {
    // A shell would run this if the name were part of a command.
    let name = "';>own;`>ed`$(";
    let Hostile { process: hostile, truth, _folder } = Hostile::start_as(name.as_bytes());
    let folder = tempfile::tempdir().unwrap();
    let rport = truth.rport.to_string();
    let mut command = Command::new(TCPTRACE);
    command.args(["leaks", "--older-than", "0s", "--rport", &rport, "--exec"]);
    command.arg("printf %s \"$TCPTRACE_COMM\" > \"$TCPTRACE_PID\"").current_dir(folder.path());
    let (mut process, _stdout) = Process::start(&mut command);
    let file = folder.path().join(hostile.pid().to_string());
    until("the command has run", || std::fs::read(&file).is_ok_and(|comm| comm == name.as_bytes()));
    process.signal(Signal::INT);
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files, [file], "the name was run as a command");
}

/// Names in which a spreadsheet would see a formula, a new cell or a new line, and one that is not UTF-8.
const NAMES: [&[u8]; 5] = [
    NAME.as_bytes(),
    b"=cmd|'.C'!A0,\"\n",
    b"-1+1;=1+1\t@SUM\r",
    b"\xff\xfe=\xc3\x28\x1b[2J\x9b31m\x7f\n",
    b"a,\"b\";\xc2\x9b31m\xe2\x80\xa8z",
];

fn a_hostile_name_is_harmless_in_every_form() {
    for name in NAMES {
        let hostile = Hostile::start_as(name);
        let port = hostile.truth.lport.to_string();
        let pid = hostile.process.pid();
        let comm = String::from_utf8_lossy(name).into_owned();
        for command in ["now", "leaks"] {
            let folder = tempfile::tempdir().unwrap();
            let path = |form: &str| folder.path().join(format!("x.{form}"));
            let forms = ["txt", "jsonl", "csv", "tct"].map(|form| path(form).display().to_string());
            let mut arguments = vec![command, "--lport", &port];
            arguments.extend(forms.iter().flat_map(|form| ["-o", form.as_str()]));
            let messages = report_a_leak(&arguments, &path("jsonl"));
            let json: Vec<Value> =
                lines(&path("jsonl")).into_iter().filter(|record| record["type"] == "leak").collect();
            let binary: Vec<Value> =
                read(&path("tct")).0.into_iter().filter(|record| record["type"] == "leak").collect();
            assert_eq!(
                (json.len(), binary.len()),
                (1, 1),
                "{command}: leaks of {comm:?}; its messages: {messages}"
            );
            for leak in [&json[0], &binary[0]] {
                let owner = leak["owners"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|owner| owner["pid"] == pid)
                    .expect("the holder");
                assert_eq!(owner["comm"], comm.as_str(), "{command}");
                assert_eq!(owner["cmdline"][3], comm.as_str(), "{command}");
            }
            for form in ["txt", "jsonl", "csv"] {
                let text = String::from_utf8(content(&path(form))).expect("UTF-8");
                let harmful = |character: &char| {
                    (character.is_control() && *character != '\n')
                        || ('\u{2028}'..='\u{202e}').contains(character)
                };
                let found: Vec<char> = text.chars().filter(harmful).collect();
                assert!(found.is_empty(), "{form}: {found:?} in\n{text:?}");
            }
            is_no_formula(&content(&path("csv")), pid);
        }
    }
}

/// Expects that no cell begins a formula, however a spreadsheet divides the table into cells, and that each record has
/// one row.
fn is_no_formula(table: &[u8], pid: i32) {
    for delimiter in [b',', b';', b'\t', b'|'] {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(table);
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        if delimiter == b',' {
            assert_eq!(
                rows.iter().filter(|row| row.iter().any(|cell| cell == pid.to_string())).count(),
                1,
                "rows"
            );
            assert!(rows.iter().all(|row| row.len() == rows[0].len()), "cells of a row");
        }
        for cell in rows.iter().flatten() {
            let is_formula = cell.trim_start().starts_with(['=', '+', '-', '@']);
            assert!(!is_formula, "a formula, between {:?}: {cell:?}", char::from(delimiter));
        }
    }
}
