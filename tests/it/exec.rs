//! `leaks --exec`: the command receives the leak, and nothing it does delays or outlives the session.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value;

use crate::support::leaky::Leaky;
use crate::support::own_pair::OwnPair;
use crate::support::process::Process;
use crate::support::stream::Stream;
use crate::support::{TCPTRACE, limit, until};

live_tests! {
    the_command_gets_the_record_and_its_output_goes_to_standard_error,
    a_command_that_takes_too_long_is_killed_with_what_it_started,
    a_command_that_fails_is_told_and_counted,
    commands_that_do_not_end_hold_up_neither_the_records_nor_the_end,
}

/// A session that runs a command in a directory of its own.
struct Session {
    process: Process,
    output: Stream,
    folder: tempfile::TempDir,
}

impl Session {
    fn start(arguments: &[&str], command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut tool = Command::new(TCPTRACE);
        tool.args(["leaks", "--older-than", "0s", "--format", "jsonl", "--exec", command]).args(arguments);
        let (process, stdout) = Process::start(tool.current_dir(folder.path()));
        Self { process, output: Stream::of(stdout), folder }
    }

    fn wait_for_leaks(&self, count: usize) -> Vec<Value> {
        let leaks = |lines: &[Value]| {
            let leaks: Vec<Value> = lines.iter().filter(|line| line["type"] == "leak").cloned().collect();
            (leaks.len() >= count).then_some(leaks)
        };
        self.output.wait(leaks).unwrap_or_else(|came| panic!("{count} leaks: {came}"))
    }

    /// Ends the session as Ctrl-C does, and returns its messages.
    fn stop(mut self) -> String {
        self.process.signal(Signal::INT);
        let status = self.process.wait();
        let messages = self.process.messages();
        assert_eq!(status.code(), Some(0), "{messages}");
        messages
    }
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_default()
}

fn the_command_gets_the_record_and_its_output_goes_to_standard_error() {
    let leaky = Leaky::start("accepted_kept", &["--count", "3"]);
    let truth = &leaky.truths[0];
    let command = "cat > $TCPTRACE_COOKIE.json; env | grep ^TCPTRACE_ > $TCPTRACE_COOKIE.env; \
                   echo heard of $TCPTRACE_COOKIE; echo done > $TCPTRACE_COOKIE.done";
    let session = Session::start(&["--lport", &truth.lport.to_string()], command);
    let leaks = session.wait_for_leaks(3);
    let folder = session.folder.path();
    for leak in &leaks {
        let cookie = &leak["cookie"];
        until("the command has run", || read(folder, &format!("{cookie}.done")) == "done\n");
        let received: Value =
            serde_json::from_str(&read(folder, &format!("{cookie}.json"))).expect("a record");
        assert_eq!(received, *leak);
        let variables = read(folder, &format!("{cookie}.env"));
        let owner = &leak["owners"][0];
        for (name, value) in [
            ("COOKIE", cookie.to_string()),
            ("NETNS", leak["netns"].to_string()),
            ("FAMILY", "4".to_owned()),
            ("LADDR", truth.laddr.clone()),
            ("LPORT", truth.lport.to_string()),
            ("RADDR", truth.raddr.clone()),
            ("RPORT", leak["rport"].to_string()),
            ("VERDICT", "eof_read".to_owned()),
            ("REASON", leak["because"][0]["id"].as_str().unwrap().to_owned()),
            ("CLOSE_WAIT_NS", leak["close_wait_ns"].to_string()),
            ("OWNERS", "1".to_owned()),
            ("PID", truth.holders[0].pid.to_string()),
            ("COMM", truth.holders[0].comm.clone()),
            ("EXE", owner["exe"].as_str().unwrap().to_owned()),
            ("UID", "0".to_owned()),
            ("FDS", owner["fds"][0].to_string()),
        ] {
            let line = format!("TCPTRACE_{name}={value}");
            assert!(variables.lines().any(|other| other == line), "no {line} in\n{variables}");
        }
        // The socket existed before the tool, so its opener is not known and the variable not set.
        assert!(!variables.contains("TCPTRACE_OPENED_AT"), "{variables}");
    }
    let messages = session.stop();
    for leak in &leaks {
        assert!(messages.contains(&format!("heard of {}", leak["cookie"])), "{messages}");
    }
    assert!(messages.contains("--exec: 3 commands, 0 failed, 0 killed"), "{messages}");
}

fn a_command_that_takes_too_long_is_killed_with_what_it_started() {
    let pair = OwnPair::left();
    let arguments = ["--lport", &pair.truth.lport.to_string(), "--exec-timeout", "300ms"];
    let session = Session::start(&arguments, "sleep 600 & echo $! > child; echo $$ > shell; wait");
    session.wait_for_leaks(1);
    let pids = || ["shell", "child"].map(|file| read(session.folder.path(), file).trim().parse::<i32>().ok());
    until("the command has begun", || pids().iter().all(Option::is_some));
    let is_gone = |pid: Option<i32>| {
        test_kill_process(Pid::from_raw(pid.unwrap()).unwrap()) == Err(rustix::io::Errno::SRCH)
    };
    until("both are gone", || pids().into_iter().all(is_gone));
    let messages = session.stop();
    assert!(messages.contains("killed") && messages.contains("--exec-timeout"), "{messages}");
    assert!(messages.contains("1 command, 0 failed, 1 killed"), "{messages}");
}

fn a_command_that_fails_is_told_and_counted() {
    let pairs = [OwnPair::left(), OwnPair::left()];
    let ports = pairs.each_ref().map(|pair| pair.truth.lport.to_string());
    let session = Session::start(&["--lport", &ports[0], "--lport", &ports[1]], "exit 7");
    session.wait_for_leaks(2);
    let messages = session.stop();
    assert!(messages.contains("exit status: 7"), "{messages}");
    assert!(messages.contains("2 commands, 2 failed, 0 killed"), "{messages}");
}

fn commands_that_do_not_end_hold_up_neither_the_records_nor_the_end() {
    const COUNT: usize = 400;
    let leaky = Leaky::start("accepted_kept", &["--count", &COUNT.to_string()]);
    let lport = leaky.truths[0].lport.to_string();
    let arguments = ["--lport", &lport, "--exec-jobs", "2", "--exec-timeout", "3s"];
    let session = Session::start(&arguments, "echo $$ >> pids; exec sleep 600");
    session.wait_for_leaks(COUNT);
    until("two have begun", || read(session.folder.path(), "pids").lines().count() == 2);
    let pids: Vec<i32> =
        read(session.folder.path(), "pids").lines().map(|line| line.parse().unwrap()).collect();
    let started = Instant::now();
    let messages = session.stop();
    assert!(started.elapsed() < Duration::from_secs(3) + limit() / 2, "the end took {:?}", started.elapsed());
    for pid in pids {
        let gone = test_kill_process(Pid::from_raw(pid).unwrap());
        assert_eq!(gone, Err(rustix::io::Errno::SRCH), "{pid} outlived the session");
    }
    // Two ran, a few followed them at the end, and the rest never ran.
    assert!(messages.contains("faster than commands end"), "{messages}");
    let counted = messages.lines().rfind(|line| line.contains("--exec: ")).expect("the counts");
    let numbers = counted.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    let [ran, failed, killed, left_out] = numbers.collect::<Vec<usize>>()[..] else { panic!("{counted}") };
    assert_eq!((failed, killed, ran + left_out), (0, ran, COUNT), "{counted}");
    assert!(ran <= 6, "{counted}");
}
