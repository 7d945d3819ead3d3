//! Names that strangers chose: a process whose name and arguments would take over a terminal.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::own_pair::OwnPair;
use crate::support::process::Process;
use crate::support::tracer::Tracer;
use crate::support::{Backend, TCPTRACE, live, until};

/// Clears the screen, begins new lines, sets a colour, and turns the writing around. Fifteen bytes, as
/// many as the kernel keeps of a name.
const NAME: &str = "\x1b[2J\r\n\x1b[31m\u{202e}x";

/// A process under that name which holds a socket that its peer has closed.
struct Hostile {
    process: Process,
    pair: OwnPair,
    _folder: tempfile::TempDir,
}

impl Hostile {
    fn start(name: &'static str) -> Self {
        assert!(name.len() <= 15, "the length of a comm");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(name);
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        let pair = OwnPair::half_closed();
        let number = pair.leaked.as_raw_fd();
        let mut command = Command::new(&program);
        command.arg0("sh").args(["-c", "read line", name]);
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
            std::fs::read(&comm).is_ok_and(|comm| comm.strip_suffix(b"\n") == Some(name.as_bytes()))
        });
        Self { process, pair, _folder: folder }
    }
}

#[test]
fn a_hostile_name_does_not_reach_the_terminal() {
    if !live() {
        return;
    }
    let hostile = Hostile::start(NAME);
    let port = hostile.pair.truth.lport.to_string();
    let arguments = ["leaks", "--older-than", "0s", "--lport", &port];
    let (mut process, mut stdout) = Process::start(Command::new(TCPTRACE).args(arguments));
    until("a leak is told", || rustix::io::ioctl_fionread(stdout.as_fd()).is_ok_and(|bytes| bytes > 0));
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

#[test]
fn a_hostile_name_is_told_as_it_is_in_json() {
    if !live() {
        return;
    }
    let hostile = Hostile::start(NAME);
    let tracer = Tracer::start(Backend::Btf, &["leaks", "--older-than", "0s"]);
    let leak = tracer.wait_for_each("leak", std::slice::from_ref(&hostile.pair.truth)).remove(0);
    let owners = leak["owners"].as_array().unwrap();
    let owner = owners.iter().find(|owner| owner["pid"] == hostile.process.pid());
    let owner = owner.unwrap_or_else(|| panic!("pid {} is not named in {leak}", hostile.process.pid()));
    assert_eq!(owner["comm"], NAME);
    assert_eq!(owner["cmdline"], serde_json::json!(["sh", "-c", "read line", NAME]));
    let session = tracer.stop();
    session.summary();
    assert!(session.records.iter().all(Value::is_object), "a line is no JSON object");
}

#[test]
fn a_hostile_name_reaches_a_command_as_data_and_is_not_run() {
    if !live() {
        return;
    }
    // What a shell would do with it, were it part of a command.
    let name = "';>own;`>ed`$(";
    let Hostile { process: hostile, pair, _folder } = Hostile::start(name);
    // From now on that process alone holds it.
    drop(pair.leaked);
    let folder = tempfile::tempdir().unwrap();
    let rport = pair.truth.rport.to_string();
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
    assert_eq!(files, [file], "files that nobody asked for");
}
