//! Runs a server or a client in a namespace, of which one closes first.

use std::net::SocketAddr;
use std::process::{ChildStdout, Command};

use serde_json::Value;

use super::example;
use super::netns::Netns;
use super::process::Process;
use super::stream::Stream;

/// One of the two, running.
pub(crate) struct Waiter {
    process: Process,
    output: Stream,
}

impl Waiter {
    /// Starts a server that closes `first`, `last` or `never`, and returns when it listens.
    pub(crate) fn serve(netns: &Netns, at: SocketAddr, closes: &str) -> Self {
        let waiter = Self::start(netns, &["serve", "--at", &at.to_string(), "--closes", closes]);
        waiter.wait_for("listens");
        waiter
    }

    /// Starts a client, which connects at once and stays when it is done.
    pub(crate) fn connect(netns: &Netns, to: SocketAddr, closes: &str, more: &[&str]) -> Self {
        let to = to.to_string();
        Self::start(netns, &[&["connect", "--to", &to, "--closes", closes], more].concat())
    }

    fn start(netns: &Netns, arguments: &[&str]) -> Self {
        let mut command = Command::new(example("waiter"));
        command.args(arguments);
        netns.enter(&mut command);
        Self::start_by(&mut command, Process::start)
    }

    /// Where `start` is what starts the program.
    fn start_by(command: &mut Command, start: impl FnOnce(&mut Command) -> (Process, ChildStdout)) -> Self {
        let (process, stdout) = start(command);
        Self { process, output: Stream::of(stdout) }
    }

    /// As [`Waiter::connect`], in the network namespace of the test, where `start` is what starts the program.
    pub(crate) fn connect_by(
        to: SocketAddr,
        closes: &str,
        more: &[&str],
        start: impl FnOnce(&mut Command) -> (Process, ChildStdout),
    ) -> Self {
        let mut command = Command::new(example("waiter"));
        command.args(["connect", "--to", &to.to_string(), "--closes", closes]).args(more);
        Self::start_by(&mut command, start)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Waits until the client has made its connections.
    pub(crate) fn done(&self) -> Value {
        self.wait_for("done")
    }

    fn wait_for(&self, what: &str) -> Value {
        let line = |lines: &[Value]| lines.iter().find(|line| line[what] == true).cloned();
        self.output.wait(line).unwrap_or_else(|came| {
            panic!("waiter does not print {what:?}: {came}\n{}", self.process.messages())
        })
    }

    /// Waits until it has ended by itself.
    pub(crate) fn gone(mut self) {
        let status = self.process.wait();
        assert!(status.success(), "waiter ended with {status}: {}", self.process.messages());
    }
}
