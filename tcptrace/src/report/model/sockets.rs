//! What a report says of stays in CLOSE_WAIT.

use serde::Serialize;

use super::{Time, ranking::ProcessName};
use crate::model::{endpoints::Endpoint, owner::Evidence, record::EndedHow, verdict::Verdict};

/// Stays in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct CloseWait {
    /// All that are known, however short.
    pub stays: u64,
    /// Sockets that were stuck at some time.
    pub stuck: u64,
    /// Of these, how many were so when last looked at.
    pub still_stuck: u64,
    /// Legitimate half-closes: not counted as stuck.
    pub half_open: u64,
    /// Stuck sockets that nobody could be named for.
    pub unattributed: u64,
    /// Stuck sockets whose holder was not looked for.
    pub holder_not_recorded: u64,
    /// The longest stay of a stuck socket.
    pub longest_ns: Option<u64>,
    /// The most that were in CLOSE_WAIT at once, as far as the steps of `over_time` show.
    pub peak: Option<u64>,
    /// How the stuck ones ended.
    pub ended: Ended,
}

/// How many ended in which way.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Ended {
    /// Closed by a process.
    pub closed: u64,
    /// Reset by the peer or a timeout.
    pub reset: u64,
    /// Destroyed by an administrator.
    pub destroyed: u64,
    /// Their holder exited.
    pub owner_exited: u64,
    /// Nobody saw how.
    pub unseen: u64,
}

/// Numbers over time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OverTime {
    /// Where the first step begins.
    pub first: Time,
    /// Length of a step.
    pub step_ns: u64,
    /// The lines, to be laid on top of each other: processes first, the worst first.
    pub lines: Vec<Line>,
}

/// One line of numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// Whose it is.
    pub of: LineOf,
    /// For a process: its place in `processes.top`.
    pub process: Option<usize>,
    /// What to call it.
    pub name: String,
    /// The number at the end of each step.
    pub values: Vec<u64>,
}

/// Whose sockets a line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LineOf {
    /// One process.
    Process,
    /// All other processes.
    OtherProcesses,
    /// Nobody could be named, or nobody was looked for.
    UnknownHolder,
    /// Sockets that were not stuck: they left soon enough.
    Passing,
}

/// How long stays in CLOSE_WAIT were; of those that had not ended, what they had come to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Durations {
    /// Stays that began before they could be seen: they were longer than is counted here.
    pub began_unseen: u64,
    /// Half of all stays were no longer than this.
    pub median_ns: Option<u64>,
    /// Nine of ten.
    pub p90_ns: Option<u64>,
    /// Ninety-nine of a hundred.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub longest_ns: Option<u64>,
    /// Counts by length, from short to long, without gaps.
    pub bars: Vec<Bar>,
}

/// Stays of about one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Bar {
    /// This long or longer.
    pub from_ns: u64,
    /// Shorter than this.
    pub below_ns: u64,
    /// Those that were not stuck.
    pub not_stuck: u64,
    /// Those that were, and ended.
    pub ended: u64,
    /// Those that still were.
    pub still_stuck: u64,
}

impl Bar {
    /// All of them.
    pub(crate) fn stays(&self) -> u64 {
        self.not_stuck + self.ended + self.still_stuck
    }
}

/// A socket that was stuck for long.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorstSocket {
    /// Its cookie.
    pub cookie: Option<u64>,
    /// Its network namespace.
    pub netns: Option<u32>,
    /// Its host, where there are several.
    pub host: Option<String>,
    /// This side.
    pub local: Endpoint,
    /// The peer.
    pub remote: Endpoint,
    /// When it entered CLOSE_WAIT, at the latest.
    pub since: Time,
    /// Whether that is exact.
    pub since_is_exact: bool,
    /// When it was last seen in CLOSE_WAIT.
    pub until: Time,
    /// The time in between.
    pub close_wait_ns: u64,
    /// Whether it was still in CLOSE_WAIT then.
    pub is_open: bool,
    /// How it ended.
    pub how: Option<EndedHow>,
    /// Who closed it.
    pub closed_by: Option<ProcessName>,
    /// Time in ESTABLISHED before.
    pub established_ns: Option<u64>,
    /// Why.
    pub verdict: Option<Verdict>,
    /// Whether anybody looked who holds it.
    pub is_looked_at: bool,
    /// Who holds it.
    pub holders: Vec<HolderName>,
    /// When it was opened.
    pub opened: Option<Time>,
    /// Where.
    pub site: Option<String>,
    /// When the end of file was read.
    pub eof_read: Option<Time>,
    /// Where.
    pub eof_read_site: Option<String>,
}

/// Who holds a socket, and by which evidence.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HolderName {
    /// Who.
    #[serde(flatten)]
    pub process: ProcessName,
    /// Its descriptor.
    pub fd: Option<u32>,
    /// How this is known.
    pub evidence: Evidence,
}
