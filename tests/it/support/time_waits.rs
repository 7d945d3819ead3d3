//! Namespaces for tests of `time-wait`, and what the kernel, `ss` and the tool report about them.

use std::process::Command;

use serde_json::Value;

use super::netns::Netns;
use super::run::{Ran, run};

/// A namespace in which no reset ends TIME_WAIT early. On a busy machine a FIN may be sent twice; the second one finds
/// no socket, and the reset that answers it would end TIME_WAIT (RFC 1337).
pub(crate) fn namespace() -> Netns {
    let netns = Netns::new();
    netns.set("tcp_rfc1337", "1");
    netns
}

/// The first of the ports, which neither the kernel nor another test gives out.
pub(crate) const FIRST_PORT: u16 = 62_000;

/// A namespace with `count` ports from [`FIRST_PORT`] on, none of which is taken over while it is in TIME_WAIT.
pub(crate) fn with_ports(count: u16) -> Netns {
    let netns = namespace();
    netns.set("ip_local_port_range", &format!("{FIRST_PORT} {}", FIRST_PORT + count - 1));
    netns.set("tcp_tw_reuse", "0");
    netns
}

/// The `tw` of the namespace's sockstat: its minisockets in TIME_WAIT and in FIN_WAIT2.
pub(crate) fn minisockets(netns: &Netns) -> u64 {
    let text = netns.within(|| std::fs::read_to_string("/proc/thread-self/net/sockstat").expect("sockstat"));
    let line = text.lines().find(|line| line.starts_with("TCP:")).expect("a line about TCP");
    let mut words = line.split_whitespace().skip_while(|word| *word != "tw");
    words.nth(1).and_then(|count| count.parse().ok()).expect("a count of tw")
}

/// How many sockets `ss` lists in a state.
pub(crate) fn listed_by_ss(netns: &Netns, state: &str) -> u64 {
    let mut command = Command::new("ss");
    command.args(["-Htan", "state", state]);
    netns.enter(&mut command);
    let output = command.output().expect("ss runs");
    assert!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().count() as u64
}

/// The records of a run in JSON lines.
pub(crate) fn records(ran: &Ran) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    ran.output.lines().map(parse).collect()
}

/// Looks once at a namespace, and returns the records.
pub(crate) fn one_look(netns: &Netns, arguments: &[&str]) -> Vec<Value> {
    let inode = netns.inode().to_string();
    let ran = run(&[&["time-wait", "--format", "jsonl", "--netns", &inode], arguments].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    records(&ran)
}

/// The last summary of a namespace, and the destinations that belong to it.
pub(crate) fn of_namespace<'a>(records: &'a [Value], netns: &Netns) -> (&'a Value, Vec<&'a Value>) {
    let of = |kind: &str| {
        let is_of = |record: &&Value| record["type"] == kind && record["netns"] == netns.inode();
        records.iter().filter(is_of).collect::<Vec<_>>()
    };
    let summary = of("time_wait_summary").last().copied();
    let summary = summary.unwrap_or_else(|| panic!("no summary of {}: {records:#?}", netns.inode()));
    let destinations =
        of("time_wait").into_iter().filter(|record| record["time"] == summary["time"]).collect();
    (summary, destinations)
}

/// The text of the first advice with this id.
pub(crate) fn advice<'a>(summary: &'a Value, id: &str) -> Option<&'a str> {
    let all = summary["advice"].as_array().expect("advice");
    all.iter().find(|advice| advice["id"] == id).and_then(|advice| advice["text"].as_str())
}

/// The destination with this port, on the side that `field` names.
pub(crate) fn with_port<'a>(destinations: &[&'a Value], field: &str, port: u16) -> &'a Value {
    let found = destinations.iter().find(|record| record[field] == port).copied();
    found.unwrap_or_else(|| panic!("nothing with {field} {port} in {destinations:#?}"))
}
