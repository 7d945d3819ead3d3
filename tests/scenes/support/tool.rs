//! Runs the tool as users do, and takes its records apart. It judges nothing.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::processes;
use super::truth::Side;

pub(crate) const TCPTRACE: &str = env!("CARGO_BIN_EXE_tcptrace");

/// A session of `leaks` that has not found everything by then ends.
const MAX_SESSION: &str = "20s";

/// The records that `now` has of these sockets.
pub(crate) fn now(side: Side) -> Vec<Value> {
    records(&text_of(&["now", "--format", "jsonl"], side))
}

/// As [`now`], where it may only follow the links in /proc.
pub(crate) fn now_from_proc(side: Side) -> Vec<Value> {
    records(&text_of(&["now", "--format", "jsonl", "--holders", "proc"], side))
}

/// What `now` shows to people, in one line.
pub(crate) fn now_in_text(side: Side) -> String {
    in_one_line(&text_of(&["now"], side))
}

/// The records of `leaks`, as soon as there are `count`, and its text in one line.
pub(crate) fn leaks(side: Side, count: usize) -> (Vec<Value>, String) {
    leaks_of(side, count, || {})
}

/// As [`leaks`], of what happens once the session has begun.
pub(crate) fn leaks_of(side: Side, count: usize, happens: impl FnOnce()) -> (Vec<Value>, String) {
    let text = tempfile::Builder::new().suffix(".txt").tempfile().expect("a file");
    let mut command = Command::new(TCPTRACE);
    command.args(["leaks", "--older-than", "1s", "--duration", MAX_SESSION, "--force"]);
    command.args(["--format", "jsonl", "-o", "-", "-o"]).arg(text.path()).args(side.arguments());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut session = command.spawn().expect("the tool");
    let lines = BufReader::new(session.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut leaks = Vec::new();
    let mut happens = Some(happens);
    for line in lines {
        // The first line is the header.
        if let Some(happens) = happens.take() {
            happens();
        }
        let found = records(&line);
        let is_new = !found.is_empty();
        leaks.extend(found);
        if is_new && leaks.len() == count {
            // It sums up, and ends; a second signal would not let it.
            processes::send(session.id().cast_signed(), Signal::INT);
        }
    }
    session.wait().expect("a child can be awaited");
    let text = std::fs::read_to_string(text.path()).unwrap_or_default();
    (leaks, in_one_line(&text))
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text_of(arguments: &[&str], side: Side) -> String {
    let output = Command::new(TCPTRACE).args(arguments).args(side.arguments()).output().expect("the tool");
    let messages = String::from_utf8_lossy(&output.stderr);
    // 4: something else on this host could not be looked at.
    let is_done = matches!(output.status.code(), Some(0 | 4));
    assert!(is_done, "tcptrace {arguments:?}: {}\n{messages}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn records(lines: &str) -> Vec<Value> {
    let records = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["type"] == "leak").collect()
}
