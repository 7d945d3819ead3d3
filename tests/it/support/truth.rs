//! The truth about a leaked socket, as the program that leaked it tells it.

use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug, Deserialize)]
pub struct Truth {
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
    pub bystander_pid: Option<i32>,
    pub cgroup: Option<String>,
    pub left_after_ns: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Holder {
    pub pid: i32,
    pub fds: Vec<i32>,
    pub comm: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Opener {
    pub pid: i32,
    pub tid: i32,
    pub comm: String,
    pub how: String,
}

impl Truth {
    /// Whether a record speaks of this socket: by its addresses, in its namespace if that is known.
    pub fn is_about(&self, record: &Value) -> bool {
        let same_netns = record["netns"].is_null() || record["netns"] == self.netns;
        same_netns
            && record["lport"] == self.lport
            && record["rport"] == self.rport
            && record["laddr"] == self.laddr.as_str()
            && record["raddr"] == self.raddr.as_str()
    }

    /// Whether a record speaks of the peer's end of the connection.
    pub fn is_about_other_end(&self, record: &Value) -> bool {
        record["lport"] == self.rport
            && record["rport"] == self.lport
            && record["laddr"] == self.raddr.as_str()
            && record["raddr"] == self.laddr.as_str()
    }

    /// The records of one type that speak of this socket.
    pub fn records<'a>(&self, kind: &str, records: &'a [Value]) -> Vec<&'a Value> {
        records.iter().filter(|record| record["type"] == kind && self.is_about(record)).collect()
    }

    /// For messages.
    pub fn name(&self) -> String {
        let Self { case, laddr, lport, raddr, rport, .. } = self;
        format!("{case} [{laddr}]:{lport} <- [{raddr}]:{rport}")
    }
}
