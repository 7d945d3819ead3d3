//! What a report says of processes, peers, opening lines and verdicts.

use std::fmt;

use serde::Serialize;

use super::Time;
use crate::{
    model::{escape::Harmless, verdict::Verdict},
    report::side::Peer,
};

/// The first of many, and what the others come to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Ranking<T> {
    /// The first ones.
    pub top: Vec<T>,
    /// Sockets that none of the top have.
    pub others: u64,
    /// How many others there are, at least.
    pub other_entries: u64,
    /// There were too many to count each by itself: the counts of the top are lower bounds.
    pub is_lower_bound: bool,
}

/// How many sockets were stuck for one reason.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VerdictShare {
    /// The reason; `None` when it could not be told.
    pub verdict: Option<Verdict>,
    /// Sockets.
    pub sockets: u64,
    /// Still stuck when last looked at.
    pub still_stuck: u64,
    /// What it means and what to do, in one sentence.
    pub advice: &'static str,
}

/// What one process held.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProcessShare {
    /// Which process.
    #[serde(flatten)]
    pub process: ProcessName,
    /// Its executable.
    pub exe: Option<String>,
    /// Its arguments.
    pub cmdline: Vec<String>,
    /// Its user.
    pub uid: Option<u32>,
    /// When it started.
    pub started: Option<Time>,
    /// Its unit.
    pub unit: Option<String>,
    /// Its container.
    pub container: Option<String>,
    /// Stuck sockets that it held.
    pub sockets: u64,
    /// Still stuck when last looked at.
    pub still_stuck: u64,
    /// Its part of all stuck sockets, 0 to 1. A socket with several holders counts for each.
    pub share: f64,
    /// The longest stay.
    pub longest_ns: u64,
    /// Growth in sockets a minute, as the session summed it up.
    pub per_minute: Option<f64>,
    /// Descriptors in use at the end of the session.
    pub fds_used: Option<u64>,
    /// Its limit of descriptors.
    pub fds_limit: Option<u64>,
    /// When they run out at this rate.
    pub fds_run_out_in_ns: Option<u64>,
    /// Why.
    pub verdicts: Vec<VerdictCount>,
    /// Towards whom; the shares are of this process's sockets.
    pub peers: Vec<PeerShare>,
    /// Where its sockets were opened.
    pub sites: Vec<SiteCount>,
}

/// Sockets with one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct VerdictCount {
    /// The verdict; `None` when it could not be told.
    pub verdict: Option<Verdict>,
    /// Sockets.
    pub sockets: u64,
}

/// Sockets opened at one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SiteCount {
    /// The line to look at.
    pub site: String,
    /// Sockets.
    pub sockets: u64,
}

/// What tells a process from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ProcessName {
    /// Its name.
    pub comm: String,
    /// Its pid.
    pub pid: u32,
    /// Its host, where there are several.
    pub host: Option<String>,
}

impl fmt::Display for ProcessName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { comm, pid, host } = self;
        write!(formatter, "{} (pid {pid}", Harmless(comm))?;
        match host {
            Some(host) => write!(formatter, " on {})", Harmless(host)),
            None => write!(formatter, ")"),
        }
    }
}

/// Stuck sockets towards one peer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeerShare {
    /// Who.
    #[serde(flatten)]
    pub peer: Peer,
    /// Stuck sockets.
    pub sockets: u64,
    /// The part of all, 0 to 1.
    pub share: f64,
}

/// Stuck sockets opened from one stack.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StackShare {
    /// The line to look at.
    pub site: String,
    /// The whole stack, innermost first.
    pub stack: Vec<String>,
    /// It ends early: the code has no frame pointers.
    pub stack_is_cut: bool,
    /// Stuck sockets.
    pub sockets: u64,
    /// The part of all stuck sockets, 0 to 1.
    pub share: f64,
}
