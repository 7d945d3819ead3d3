//! What a report says about stays in CLOSE_WAIT.

use serde::Serialize;

use super::ranking::{ProcessName, Site};
use crate::{
    model::{ended::EndedHow, endpoints::Endpoint, owner::Evidence, reason::ReasonId, verdict::Verdict},
    report::time::Time,
};

/// Stays in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct CloseWait {
    /// All stays, however short.
    pub stays: u64,
    /// Sockets that were stuck at some time.
    pub stuck: u64,
    /// Of these, still stuck when last seen.
    pub still_stuck: u64,
    /// Legitimate half-closes, which do not count as stuck.
    pub half_open: u64,
    /// Stuck sockets without a known holder.
    pub unattributed: u64,
    /// Stuck sockets whose holder was not looked up.
    pub holder_not_recorded: u64,
    /// The longest stay of a stuck socket.
    pub longest_ns: Option<u64>,
    /// Most sockets in CLOSE_WAIT at once, at the resolution of `over_time`.
    pub peak: Option<u64>,
    /// How stuck stays ended.
    pub ended: EndCounts,
    /// Sockets that were reported stuck, and that the filters leave out.
    pub filtered_out: u64,
    /// Of those still stuck when last seen, how many a later session of the host did not look for.
    pub not_looked_at_again: u64,
}

/// Stays by how they ended.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct EndCounts {
    /// Closed by a process.
    pub closed: u64,
    /// Reset by the peer.
    pub reset: u64,
    /// Destroyed by an administrator.
    pub destroyed: u64,
    /// Their holder exited.
    pub owner_exited: u64,
    /// Nobody saw how.
    pub unseen: u64,
    /// Given up because the peer, or the way to it, did not answer.
    pub timed_out: u64,
    /// Shut down by a process that kept the descriptor.
    pub shut_down: u64,
}

/// Sockets in CLOSE_WAIT over time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OverTime {
    /// Start of the first step.
    pub first: Time,
    pub step_ns: u64,
    /// The lines to stack: processes first, worst first.
    pub lines: Vec<CountLine>,
}

/// One line of the chart.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CountLine {
    /// What the line counts.
    pub of: LineOf,
    /// For a process: its index in `processes.top`.
    pub process: Option<usize>,
    /// Its label.
    pub name: String,
    /// The count at the end of each step.
    pub values: Vec<u64>,
}

/// Whose sockets a line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LineOf {
    Process,
    OtherProcesses,
    /// The holder was not found or not looked up.
    UnknownHolder,
    /// Sockets that left CLOSE_WAIT in time.
    Passing,
}

/// The lengths of stays; of open ones, the length so far.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Durations {
    /// Stays that began unseen: their lengths are lower bounds.
    pub began_unseen: u64,
    pub median_ns: Option<u64>,
    pub p90_ns: Option<u64>,
    pub p99_ns: Option<u64>,
    pub longest_ns: Option<u64>,
    /// By length, short to long, without gaps.
    pub bars: Vec<Bar>,
}

/// The stays in one range of lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Bar {
    pub from_ns: u64,
    pub below_ns: u64,
    pub not_stuck: u64,
    /// Stuck, and ended.
    pub ended: u64,
    /// Still stuck at the end.
    pub still_stuck: u64,
}

impl Bar {
    pub(crate) fn stays(&self) -> u64 {
        self.not_stuck + self.ended + self.still_stuck
    }
}

/// One of the sockets stuck the longest.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the document")]
pub(crate) struct WorstSocket {
    pub cookie: Option<u64>,
    pub netns: Option<u32>,
    /// Set when the report covers several hosts.
    pub host: Option<String>,
    pub local: Endpoint,
    pub remote: Endpoint,
    /// When it entered CLOSE_WAIT, at the latest.
    pub since: Time,
    pub since_is_exact: bool,
    /// When it was last seen in CLOSE_WAIT.
    pub until: Time,
    /// From `since` to `until`.
    pub close_wait_ns: u64,
    /// Whether it was still in CLOSE_WAIT at `until`.
    pub is_open: bool,
    pub how: Option<EndedHow>,
    pub closed_by: Option<ProcessName>,
    /// Time in ESTABLISHED before CLOSE_WAIT.
    pub established_ns: Option<u64>,
    pub verdict: Option<Verdict>,
    /// The most telling reason.
    pub reason: Option<ReasonId>,
    /// Whether its holder was looked up.
    pub is_looked_at: bool,
    pub holders: Vec<HolderName>,
    pub opened: Option<Time>,
    #[serde(flatten)]
    pub site: Site,
    pub eof_read: Option<Time>,
    pub eof_read_site: Option<String>,
    /// Whether its host has later sessions, none of which looked for it.
    pub not_looked_at_again: bool,
}

/// A holder of a socket, and the evidence for it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HolderName {
    #[serde(flatten)]
    pub process: ProcessName,
    pub fd: Option<u32>,
    pub evidence: Evidence,
}
