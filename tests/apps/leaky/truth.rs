//! What is true about one leaked socket, as it is printed for the tests to compare with.
//!
//! A field that does not apply is null or absent, never a guess.

use crate::message::Ends;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Field names are relied upon by tests: add, never rename.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Truth {
    pub case: String,
    /// SO_COOKIE; null for a socket that no process has a descriptor of from the start.
    pub cookie: Option<u64>,
    pub family: u8,
    pub laddr: IpAddr,
    pub lport: u16,
    pub raddr: IpAddr,
    pub rport: u16,
    /// Inode number of the network namespace.
    pub netns: u64,
    pub protocol: &'static str,
    /// Everybody who has a descriptor; for a never accepted socket, of its listener.
    pub holders: Vec<Holder>,
    /// Null for a socket that was never accepted.
    pub opener: Option<Opener>,
    pub peer_pid: i32,
    pub peer_comm: String,
    /// Null when nothing may be reported.
    pub verdict: Option<&'static str>,
    /// CLOCK_MONOTONIC just before the connection was ended …
    pub entered_before_ns: u64,
    /// … and when CLOSE_WAIT had been seen, or CLOSE where the connection is over.
    pub entered_after_ns: u64,
    pub recv_q: u32,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Holder {
    pub pid: i32,
    pub fds: Vec<i32>,
    pub comm: String,
}

/// Who accepted or connected the socket, as it was called then; it may be gone.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Opener {
    pub pid: i32,
    pub tid: i32,
    pub comm: String,
    pub how: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct UsedBy {
    pub pid: i32,
    pub evidence: &'static str,
}

/// A reason why a socket leaks, with what is known of its numbers: each is a value, or what it is at least.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reason {
    pub id: &'static str,
    pub numbers: BTreeMap<&'static str, Known>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Known {
    Is(Value),
    AtLeast(u64),
}

impl Reason {
    pub(crate) fn new(id: &'static str) -> Self {
        Self { id, numbers: BTreeMap::new() }
    }

    pub(crate) fn is(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.numbers.insert(name, Known::Is(value.into()));
        self
    }

    pub(crate) fn at_least(mut self, name: &'static str, value: u64) -> Self {
        self.numbers.insert(name, Known::AtLeast(value));
        self
    }
}

/// What only some cases have.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Extra {
    /// Functions on the stack of accept, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack_functions: Option<Vec<&'static str>>,
    /// The process that uses the socket without a descriptor of it, and the evidence for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<UsedBy>,
    /// A process that has nothing to do with it and must not be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bystander_pid: Option<i32>,
    /// The holder's cgroup, relative to the cgroup root, with a leading slash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// SO_COOKIE of the MPTCP socket around the TCP socket that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mptcp_cookie: Option<u64>,
    /// The holder's number inside its own pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_in_namespace: Option<i32>,
    /// Whether the peer has only ended its sending half, and still holds the socket.
    pub peer_waits: bool,
    /// How the connection ended, where its end has left an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<&'static str>,
    /// Reasons that have to be given; the others are for the tool to choose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Reason>,
    /// The one that has to come first, where only one can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_reason: Option<&'static str>,
    /// Reasons that would be wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_because: Vec<&'static str>,
    /// Whether the peer is on another host, as far as a tool can tell.
    pub peer_is_elsewhere: bool,
    /// Bracket of the close, when the socket was closed before the truth was printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_before_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_after_ns: Option<u64>,
}

impl Truth {
    /// The first of the reasons has to come first.
    pub(crate) fn because(&mut self, reasons: &[Reason], never: &[&'static str]) {
        self.mentions(reasons, never);
        self.extra.first_reason = reasons.first().map(|reason| reason.id);
    }

    /// The reasons may come in any order.
    pub(crate) fn mentions(&mut self, reasons: &[Reason], never: &[&'static str]) {
        self.extra.because = reasons.to_vec();
        self.extra.not_because = never.to_vec();
    }
}

/// One socket as its opener reported it.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub ends: Ends,
    pub cookie: Option<u64>,
    pub opener: Option<Opener>,
    pub peer_pid: i32,
}
