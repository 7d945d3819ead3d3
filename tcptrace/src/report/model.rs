//! What a report says. The forms (text, JSON, HTML) only differ in how they show it; the JSON form is this, field by
//! field (README, "Reports"), so names are a promise: more may be added.
//!
//! Durations end in `_ns`, times are RFC 3339. What is not known is `null`.

use std::{fmt, net::SocketAddr};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{
    caveats::Caveat,
    cast::Kind,
    headline::Headline,
    side::Peer,
};
use crate::{
    diagnosis::Verdict,
    owners::Evidence,
    record::{EndedHow, Totals},
};

/// A time, serialized as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this form.
    pub schema: u32,
    /// Version of tcptrace.
    pub version: &'static str,
    /// The answer, in sentences.
    pub headline: Headline,
    /// What was asked to be left out.
    pub asked: Asked,
    /// The time that the recordings cover, within what was asked for; `None` when they hold nothing.
    pub span: Option<Span>,
    /// The sessions that were recorded.
    pub sessions: Vec<SessionReport>,
    /// What was taken of the recordings.
    pub records: super::aggregate::Taken,
    /// Stays in CLOSE_WAIT.
    pub close_wait: CloseWait,
    /// Sockets in CLOSE_WAIT over time; `None` where only single moments were recorded.
    pub over_time: Option<OverTime>,
    /// How long stays were.
    pub durations: Durations,
    /// Why sockets were stuck, the most frequent first.
    pub verdicts: Vec<VerdictShare>,
    /// Who held them, the worst first.
    pub processes: Ranking<ProcessShare>,
    /// Towards whom.
    pub peers: Ranking<PeerShare>,
    /// Where they were opened.
    pub stacks: Ranking<StackShare>,
    /// The sockets that were stuck the longest.
    pub worst: Vec<WorstSocket>,
    /// Who closed connections first; `None` where transitions were not recorded.
    pub closed_first: Option<ClosedFirst>,
    /// What this report cannot claim.
    pub cannot_claim: Vec<Caveat>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Asked {
    /// Nothing before.
    pub from: Option<Time>,
    /// Nothing after.
    pub to: Option<Time>,
    /// What counts as stuck, where nothing was reported.
    pub older_than_ns: u64,
    /// Whether there were filters on connections or owners.
    pub is_filtered: bool,
}

/// A time from one moment to another.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Span {
    /// When it begins.
    pub first: Time,
    /// When it ends.
    pub last: Time,
    /// From the one to the other.
    pub duration_ns: u64,
}

/// A session that was recorded.
#[derive(Clone, Debug, Serialize)]
pub struct SessionReport {
    /// The files it was read from.
    pub files: Vec<FileReport>,
    /// The machine; `None` for a file without its beginning.
    pub host: Option<String>,
    /// Its kernel.
    pub kernel: Option<String>,
    /// Its boot id.
    pub boot_id: Option<String>,
    /// What was run.
    pub command: Option<String>,
    /// What that records.
    pub kind: Kind,
    /// The way into the kernel.
    pub backend: Option<String>,
    /// When it began.
    pub started: Time,
    /// Its last record.
    pub last: Time,
    /// Whether it came to its own end: its summary was read.
    pub has_ended: bool,
    /// What it lost by its own account, as last written.
    pub lost: Totals,
}

/// A file that was read.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Records read.
    pub records: u64,
    /// Records of the session that came before this file.
    pub before: u64,
    /// Records that the writer dropped because its output was too slow.
    pub dropped: u64,
    /// Further records that are known to be missing.
    pub missing: u64,
    /// Blocks or lines that are damaged.
    pub damaged: u64,
    /// Records of types that this version does not know.
    pub unknown: u64,
    /// Times that it became shorter while it was read.
    pub truncated: u64,
    /// It ends in the middle of something.
    pub is_cut: bool,
    /// It could not be read to its end: why.
    pub error: Option<String>,
}

/// Stays in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CloseWait {
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
pub struct Ended {
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
pub struct OverTime {
    /// Where the first step begins.
    pub first: Time,
    /// Length of a step.
    pub step_ns: u64,
    /// The lines, to be laid on top of each other: processes first, the worst first.
    pub lines: Vec<Line>,
}

/// One line of numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
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
pub enum LineOf {
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
pub struct Durations {
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
pub struct Bar {
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
    pub fn stays(&self) -> u64 {
        self.not_stuck + self.ended + self.still_stuck
    }
}

/// The first of many, and what the others come to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ranking<T> {
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
pub struct VerdictShare {
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
pub struct ProcessShare {
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
pub struct VerdictCount {
    /// The verdict; `None` when it could not be told.
    pub verdict: Option<Verdict>,
    /// Sockets.
    pub sockets: u64,
}

/// Sockets opened at one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SiteCount {
    /// The line to look at.
    pub site: String,
    /// Sockets.
    pub sockets: u64,
}

/// What tells a process from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessName {
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
        write!(formatter, "{} (pid {pid}", crate::sink::Harmless(comm))?;
        match host {
            Some(host) => write!(formatter, " on {})", crate::sink::Harmless(host)),
            None => write!(formatter, ")"),
        }
    }
}

/// Stuck sockets towards one peer.
#[derive(Clone, Debug, Serialize)]
pub struct PeerShare {
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
pub struct StackShare {
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

/// A socket that was stuck for long.
#[derive(Clone, Debug, Serialize)]
pub struct WorstSocket {
    /// Its cookie.
    pub cookie: Option<u64>,
    /// Its network namespace.
    pub netns: Option<u32>,
    /// Its host, where there are several.
    pub host: Option<String>,
    /// This side.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
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
pub struct HolderName {
    /// Who.
    #[serde(flatten)]
    pub process: ProcessName,
    /// Its descriptor.
    pub fd: Option<u32>,
    /// How this is known.
    pub evidence: Evidence,
}

/// Who closed connections first: the side that does keeps them in TIME_WAIT.
#[derive(Clone, Debug, Serialize)]
pub struct ClosedFirst {
    /// Processes of the host: each leaves a socket in TIME_WAIT here.
    pub by_us: u64,
    /// The peer: TIME_WAIT is there.
    pub by_peer: u64,
    /// Nobody: reset, no TIME_WAIT at all.
    pub reset: u64,
    /// The time that rates are of.
    pub duration_ns: u64,
    /// Processes that closed first.
    pub processes: Ranking<CloserShare>,
    /// Peers, those first towards whom this side closes first.
    pub peers: Ranking<PeerCloses>,
    /// Where the first step begins.
    pub first: Time,
    /// Length of a step.
    pub step_ns: u64,
    /// Closes by this side in each step.
    pub by_us_over_time: Vec<u64>,
    /// Closes by the peer in each step.
    pub by_peer_over_time: Vec<u64>,
    /// Resets in each step.
    pub reset_over_time: Vec<u64>,
}

/// What one process closed.
#[derive(Clone, Debug, Serialize)]
pub struct CloserShare {
    /// Who.
    #[serde(flatten)]
    pub process: ProcessName,
    /// Connections that it closed first.
    pub closed_first: u64,
    /// The same a second.
    pub per_second: f64,
    /// The part of all that this side closed first, 0 to 1.
    pub share: f64,
}

/// Closes towards one peer.
#[derive(Clone, Debug, Serialize)]
pub struct PeerCloses {
    /// Who.
    #[serde(flatten)]
    pub peer: Peer,
    /// Closed first on this side.
    pub by_us: u64,
    /// The same a second.
    pub per_second: f64,
    /// Closed first on the peer's.
    pub by_peer: u64,
    /// Reset.
    pub reset: u64,
}
