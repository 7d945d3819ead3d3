//! `clear` ends ten thousand sockets, of several processes because one may not have so many open.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::TCPTRACE;
use crate::support::emulated::stretched;
use crate::support::leaky::Leaky;
use crate::support::process::Process;
use crate::support::run::run_command;
use crate::support::stream::Stream;

live_tests! {
    ten_thousand_sockets_are_ended_within_two_seconds,
    what_was_ended_before_a_signal_came_is_recorded_to_the_last_socket,
}

const COUNT: usize = 10_000;

/// A limit on CPU time, which does not grow when the machine is busy. The tool waits for nothing, so on a quiet machine
/// it is the elapsed time.
const LIMIT: Duration = Duration::from_secs(2);

fn ten_thousand_sockets_are_ended_within_two_seconds() {
    let leaky = Leaky::start("many", &["--count", &COUNT.to_string(), "--processes", "10"]);
    let mut command = command("clear", &leaky);
    // As text: the tool is not optimised here, and writing JSON would take longer than everything else.
    command.arg("--yes");
    let started = Instant::now();
    let (code, output, used) = timed(&mut command);
    println!("{COUNT} sockets: {used:?} of CPU time, {:?} elapsed", started.elapsed());
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(&format!("{COUNT} of {COUNT} sockets gone.")), "{output}");
    assert_eq!(output.lines().filter(|line| line.contains("  GONE  ")).count(), COUNT, "{output}");
    let kept = output
        .lines()
        .filter_map(|line| line.split_once(" keeps ")?.1.split(' ').next()?.parse::<usize>().ok());
    assert_eq!(kept.sum::<usize>(), COUNT, "descriptors that the owners keep: {output}");
    assert_eq!(left(&leaky), 0, "sockets are left");
    assert!(used < stretched(LIMIT), "{used:?} of CPU time");
}

fn what_was_ended_before_a_signal_came_is_recorded_to_the_last_socket() {
    let leaky = Leaky::start("many", &["--count", &COUNT.to_string(), "--processes", "10"]);
    let (mut process, stdout) = Process::start(command("clear", &leaky).args(["--yes", "--format", "jsonl"]));
    let output = Stream::of(stdout);
    let first = |lines: &[Value]| lines.iter().any(|line| line["type"] == "cleared").then_some(());
    output.wait(first).unwrap_or_else(|came| panic!("a socket that is ended: {came}"));
    process.signal(Signal::INT);
    let status = process.wait();
    let records = output.wait_for_end().unwrap();
    let gone = records.iter().filter(|record| record["outcome"] == "gone").count();
    let left = left(&leaky);
    assert_eq!(gone + left, COUNT, "{gone} recorded, {left} left");
    assert_eq!(records.last().unwrap()["outcomes"]["gone"], gone);
    let messages = process.messages();
    match left {
        0 => assert_eq!(status.code(), Some(0), "the signal came too late: {messages}"),
        _ => assert!(status.code() == Some(4) && messages.contains("interrupted"), "{messages}"),
    }
}

/// A command that selects the sockets of these processes.
fn command(name: &str, leaky: &Leaky) -> Command {
    let mut holders: Vec<i32> = leaky.truths.iter().map(|truth| truth.holders[0].pid).collect();
    holders.sort_unstable();
    holders.dedup();
    let mut command = Command::new(TCPTRACE);
    command.args([name, "--older-than", "0s"]);
    command.args(holders.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]));
    command
}

/// How many sockets of these processes are still in CLOSE_WAIT.
fn left(leaky: &Leaky) -> usize {
    let ran = run_command(command("now", leaky).args(["--format", "jsonl"]));
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    ran.output.matches("\"state\":\"CLOSE_WAIT\"").count()
}

/// Runs a command, and returns its exit code, its output and the CPU time it took.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it, and returns what it used")]
fn timed(command: &mut Command) -> (Option<i32>, String, Duration) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the tool");
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).expect("text");
    let mut status = 0;
    // SAFETY: rusage is plain data, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both point to what the kernel writes; the child is ours, and nobody else waits for it.
    let pid = unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage) };
    assert_eq!(pid, child.id().cast_signed(), "{}", std::io::Error::last_os_error());
    let time = |spent: libc::timeval| {
        Duration::from_secs(spent.tv_sec.cast_unsigned())
            + Duration::from_micros(spent.tv_usec.cast_unsigned())
    };
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    (code, output, time(usage.ru_utime) + time(usage.ru_stime))
}
