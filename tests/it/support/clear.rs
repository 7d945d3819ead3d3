//! Runs `tcptrace clear` and finds what it reports about each socket.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::TCPTRACE;
use super::run::{Ran, run_command};
use super::terminal::Left;
use super::truth::Truth;

/// A session that has ended.
pub(crate) struct Clear {
    pub records: Vec<Value>,
    pub ran: Ran,
}

impl From<Left> for Clear {
    fn from(Left { code, output, screen }: Left) -> Self {
        Self::from(Ran { code, output, messages: screen })
    }
}

impl From<Ran> for Clear {
    fn from(ran: Ran) -> Self {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        Self { records: ran.output.lines().map(parse).collect(), ran }
    }
}

/// A command that selects these sockets only, by their ports and namespaces.
pub(crate) fn command(truths: &[Truth], arguments: &[&str]) -> Command {
    let mut command = Command::new(TCPTRACE);
    command.arg("clear").args(arguments);
    // Each value once: the filter has room for few.
    let options = |truth: &Truth| {
        let Truth { lport, rport, netns, .. } = truth;
        [("--lport", u64::from(*lport)), ("--rport", u64::from(*rport)), ("--netns", *netns)]
    };
    for (option, value) in truths.iter().flat_map(options).collect::<BTreeSet<_>>() {
        command.args([option, &value.to_string()]);
    }
    command
}

/// Runs it to its end, with JSON Lines as output.
pub(crate) fn clear(truths: &[Truth], arguments: &[&str]) -> Clear {
    Clear::of(command(truths, arguments).args(["--format", "jsonl"]))
}

impl Clear {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(run_command(command))
    }

    /// The one record about this socket.
    pub(crate) fn record(&self, truth: &Truth) -> &Value {
        match truth.records("cleared", &self.records)[..] {
            [record] => record,
            ref records => {
                panic!("{} records about {}: {}", records.len(), truth.name(), self.ran.messages)
            }
        }
    }

    /// The outcome for this socket, and the exit code of the session.
    pub(crate) fn outcome(&self, truth: &Truth) -> (&str, Option<i32>) {
        let record = self.record(truth);
        (record["outcome"].as_str().unwrap_or_else(|| panic!("{record} has no outcome")), self.ran.code)
    }
}

/// All sockets of the host at one moment, but for those in LISTEN and those in CLOSE that never were connected.
pub(crate) struct Sockets(Vec<Value>);

impl Sockets {
    /// Lists them.
    pub(crate) fn now() -> Self {
        let all = "SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE_WAIT LAST_ACK CLOSING TIME_WAIT";
        let mut command = Command::new(TCPTRACE);
        command.args(["now", "--format", "jsonl"]);
        command.args(all.split(' ').flat_map(|state| ["--state", state]));
        Self(Clear::of(&mut command).records)
    }

    /// The state of the socket with these addresses; `None` where no such socket exists, or only a descriptor is left
    /// of it.
    pub(crate) fn state_of(&self, truth: &Truth) -> Option<&str> {
        self.state(|record| truth.is_about(record))
    }

    /// The record of the socket with this cookie, whose connection is over while its descriptors stay.
    pub(crate) fn over(&self, truth: &Truth) -> Option<&Value> {
        let is_it = |record: &&Value| truth.cookie.is_some_and(|cookie| record["cookie"] == cookie);
        self.0.iter().filter(|record| record["type"] == "leak" && record["state"] == "CLOSE").find(is_it)
    }

    /// The state of the peer's socket.
    pub(crate) fn peers_state(&self, truth: &Truth) -> Option<&str> {
        self.state(|record| truth.is_about_other_end(record) && record["netns"] == truth.netns)
    }

    fn state(&self, is_wanted: impl Fn(&Value) -> bool) -> Option<&str> {
        let is_one = |record: &Value| record["type"] == "leak" && record["state"] != "CLOSE";
        let found = self.0.iter().find(|record| is_one(record) && is_wanted(record));
        found.map(|record| record["state"].as_str().expect("a state"))
    }
}
