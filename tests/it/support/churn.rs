//! Runs the program that makes many short connections and leaks none of them.

use std::process::Command;
use std::sync::MutexGuard;

use super::process::Process;
use super::stream::Stream;
use super::{example, netns::Netns, turn};

/// Transitions that one connection makes, both its ends together.
pub(crate) const TRANSITIONS: u64 = 10;

/// Transitions of the listening socket.
pub(crate) const LISTENER_TRANSITIONS: u64 = 2;

/// The states of the client and of the server, in order.
pub(crate) const CLIENT: [&str; 6] = ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE"];
pub(crate) const SERVER: [&str; 6] = ["LISTEN", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"];

/// This many connections put the host under load.
const LOAD: u64 = 1_000;

/// Makes the connections, and returns the pid of the program that made them.
pub(crate) fn churn(connections: u64, port: u16, family: u8) -> i32 {
    let _turn = (connections >= LOAD).then(turn);
    run(&mut command(connections, port, family))
}

/// As [`churn`], for a test that has the turn longer than that.
pub(crate) fn churn_in_turn(_turn: &MutexGuard<'static, ()>, connections: u64, port: u16) {
    run(&mut command(connections, port, 4));
}

/// As [`churn`], in another network namespace.
pub(crate) fn churn_in(netns: &Netns, connections: u64, port: u16) -> i32 {
    let _turn = (connections >= LOAD).then(turn);
    let mut command = command(connections, port, 4);
    netns.enter(&mut command);
    run(&mut command)
}

pub(crate) fn command(connections: u64, port: u16, family: u8) -> Command {
    let mut command = Command::new(example("churn"));
    command.args(["--connections", &connections.to_string(), "--port", &port.to_string()]);
    command.args(["--family", &family.to_string()]);
    command
}

fn run(command: &mut Command) -> i32 {
    let (mut process, stdout) = Process::start(command);
    let status = process.wait();
    let output = Stream::of(stdout).wait_for_end().unwrap_or_else(|why| panic!("{why}"));
    assert!(status.success(), "{command:?} ended with {status}: {}", process.messages());
    assert_eq!(output.len(), 1, "{command:?} printed {output:?}");
    process.pid()
}
