//! The truth about a leaked socket, as the program that leaked it prints it.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt as _;

use serde::Deserialize;
use serde_json::Value;
use socket2::Socket;

use super::kernel_is_at_least;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Truth {
    pub case: String,
    pub cookie: Option<u64>,
    pub family: u8,
    pub laddr: String,
    pub lport: u16,
    pub raddr: String,
    pub rport: u16,
    pub netns: u64,
    pub holders: Vec<Holder>,
    pub opener: Option<Opener>,
    pub peer_pid: i32,
    pub verdict: Option<String>,
    pub entered_before_ns: u64,
    pub entered_after_ns: u64,
    pub recv_q: u32,
    pub used_by: Option<UsedBy>,
    pub bystander_pid: Option<i32>,
    pub cgroup: Option<String>,
    pub stack_functions: Option<Vec<String>>,
    pub left_after_ns: Option<u64>,
    pub ended: Option<String>,
    #[serde(default)]
    pub peer_waits: bool,
    #[serde(default)]
    pub peer_is_elsewhere: bool,
    #[serde(default)]
    pub because: Vec<Reason>,
    pub first_reason: Option<String>,
    #[serde(default)]
    pub not_because: Vec<String>,
}

/// A reason that has to be given, and what is known of its numbers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reason {
    pub id: String,
    pub numbers: BTreeMap<String, Known>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Known {
    Is(Value),
    AtLeast(u64),
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Holder {
    pub pid: i32,
    pub fds: Vec<i32>,
    pub comm: String,
}

/// A process that uses the socket without a descriptor of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct UsedBy {
    pub pid: i32,
    pub evidence: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Opener {
    pub pid: i32,
    pub tid: i32,
    pub comm: String,
    pub how: String,
}

impl Truth {
    /// What an IPv4 socket in the test's own namespace says about itself. Nobody has waited for its CLOSE_WAIT:
    /// verdict, times and queue are for the caller to fill in.
    pub(crate) fn of(case: &str, own: &Socket) -> Self {
        let [local, remote] =
            [own.local_addr(), own.peer_addr()].map(|end| end.unwrap().as_socket().unwrap());
        Self {
            case: case.to_owned(),
            cookie: Some(own.cookie().unwrap()),
            family: 4,
            laddr: local.ip().to_string(),
            lport: local.port(),
            raddr: remote.ip().to_string(),
            rport: remote.port(),
            netns: std::fs::metadata("/proc/self/ns/net").unwrap().ino(),
            holders: Vec::new(),
            opener: None,
            peer_pid: 0,
            verdict: None,
            entered_before_ns: 0,
            entered_after_ns: 0,
            recv_q: 0,
            used_by: None,
            bystander_pid: None,
            cgroup: None,
            stack_functions: None,
            left_after_ns: None,
            ended: None,
            peer_waits: false,
            peer_is_elsewhere: false,
            because: Vec::new(),
            first_reason: None,
            not_because: Vec::new(),
        }
    }

    /// Whether a record is about this socket: it has its addresses, and its namespace if that is known.
    pub(crate) fn is_about(&self, record: &Value) -> bool {
        let same_netns = record["netns"].is_null() || record["netns"] == self.netns;
        same_netns
            && record["lport"] == self.lport
            && record["rport"] == self.rport
            && record["laddr"] == self.laddr.as_str()
            && record["raddr"] == self.raddr.as_str()
    }

    /// Whether a record is about the peer's end of the connection.
    pub(crate) fn is_about_other_end(&self, record: &Value) -> bool {
        record["lport"] == self.rport
            && record["rport"] == self.lport
            && record["laddr"] == self.raddr.as_str()
            && record["raddr"] == self.laddr.as_str()
    }

    /// The records of one type about this socket.
    pub(crate) fn records<'a>(&self, kind: &str, records: &'a [Value]) -> Vec<&'a Value> {
        records.iter().filter(|record| record["type"] == kind && self.is_about(record)).collect()
    }

    /// Whether the tool has to report it: a legitimate half-close is no leak, and neither is a socket that
    /// was closed in time.
    pub(crate) fn is_to_be_reported(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict != "half_open")
    }

    /// Whether only descriptors are left of it, because its connection is over.
    pub(crate) fn is_over(&self) -> bool {
        self.verdict.as_deref() == Some("connection_over")
    }

    /// Whether it waits behind another leg of its relay that takes no more.
    pub(crate) fn is_behind_full_leg(&self) -> bool {
        self.case == "relay_leg_full"
    }

    /// Whether nothing but acknowledgments shows that the peer, on another host, still reads.
    pub(crate) fn is_acknowledged_elsewhere(&self) -> bool {
        self.peer_is_elsewhere && self.verdict.as_deref() == Some("half_open")
    }

    /// Whether it may still look half-open for ten seconds, because its peer has stopped reading only now.
    pub(crate) fn has_just_been_written_to(&self) -> bool {
        self.first_reason.as_deref() == Some("blocked_in_write")
    }

    /// Leaves out what nobody can find out on this kernel (docs/limits.md): that a ring has it, or its listener, where the
    /// kernel names a registered socket by its protocol alone, or polls for a request. Then it may as well be in flight.
    pub(crate) fn for_this_kernel(mut self) -> Self {
        let rings = self.used_by.as_ref().filter(|used_by| used_by.evidence == "io_uring");
        if !kernel_is_at_least((6, 18)) && rings.is_some_and(|used_by| is_silent_on_rings(used_by.pid)) {
            self.used_by = None;
            self.not_because.retain(|reason| reason != "in_flight");
        }
        self
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        let Self { case, laddr, lport, raddr, rport, .. } = self;
        format!("{case} [{laddr}]:{lport} <- [{raddr}]:{rport}")
    }
}

/// Whether a ring of the process has a TCP socket registered that only its protocol is shown of, not its inode
/// (`io_uring_show_fdinfo` of io_uring/fdinfo.c, up to Linux 6.12 at least), or polls for a request, without a worker that
/// sleeps in it (Linux 6.12; 6.1 and 6.18 have one).
fn is_silent_on_rings(pid: i32) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let is_silent = |line: &str| {
        line.ends_with(": TCP") || line.ends_with(": TCPv6") || line.trim_start().starts_with("op=")
    };
    files
        .filter_map(|file| std::fs::read_to_string(file.path()).ok())
        .any(|text| text.contains("UserFiles:") && text.lines().any(is_silent))
}

/// Finds, among many, the truth that a record is about.
pub(crate) struct Index<'a> {
    truths: &'a [Truth],
    by_addresses: HashMap<String, Vec<usize>>,
}

impl<'a> Index<'a> {
    pub(crate) fn of(truths: &'a [Truth]) -> Self {
        let mut by_addresses: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, Truth { laddr, lport, raddr, rport, .. }) in truths.iter().enumerate() {
            let key = format!("{laddr} {lport} {raddr} {rport}");
            by_addresses.entry(key).or_default().push(at);
        }
        Self { truths, by_addresses }
    }

    /// The position of the truth.
    pub(crate) fn find(&self, record: &Value) -> Option<usize> {
        let text = |field: &str| record[field].as_str();
        let (laddr, raddr) = (text("laddr")?, text("raddr")?);
        let key = format!("{laddr} {} {raddr} {}", record["lport"], record["rport"]);
        self.by_addresses.get(&key)?.iter().copied().find(|at| self.truths[*at].is_about(record))
    }
}
