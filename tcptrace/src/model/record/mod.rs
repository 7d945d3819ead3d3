//! The records of a session: what is said, apart from how it is written. Field names are a promise
//! (README, "Records"); the sinks only choose the form.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
pub(crate) mod arbitrary;
pub(crate) mod cleared;
pub(crate) mod other;
pub(crate) mod time_wait;

use std::sync::Arc;

use jiff::Timestamp;

pub(crate) use self::{
    cleared::{ClearEnd, Cleared},
    other::Other,
    time_wait::{TimeWait, TimeWaitSummary},
};
use super::{
    close_wait::Since,
    host_identity::HostIdentity,
    owner::{CalledBy, OpenedBy, Owner},
    socket::Socket,
    stack::Stack,
    state::{State, StateSet},
    transition::Transition,
    verdict::Verdict,
};

/// The version of the records' form.
pub(crate) const SCHEMA: u32 = 1;

/// Anything that a session says.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The first record of a session.
    Header(Box<Header>),
    /// A socket changed state.
    Transition(Timed<Transition>),
    /// A socket passed the threshold.
    Leak(Box<Leak>),
    /// A reported socket left CLOSE_WAIT.
    LeakEnd(Box<LeakEnd>),
    /// The minisockets of a destination.
    TimeWait(Box<TimeWait>),
    /// The TIME_WAIT of a network namespace.
    TimeWaitSummary(Box<TimeWaitSummary>),
    /// A socket was ended, or was to be.
    Cleared(Box<Cleared>),
    /// The last record of a session.
    Summary(Box<Summary>),
    /// The last record of a session that ended sockets: a summary with what became of them.
    ClearEnd(Box<ClearEnd>),
    /// A record that was read, of a type that nothing here works with.
    Other(Box<Other>),
}

impl Record {
    /// When it happened, or was found out.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Header(header) => header.started,
            Self::Transition(transition) => transition.time,
            Self::Leak(leak) => leak.time,
            Self::LeakEnd(end) => end.time,
            Self::TimeWait(destination) => destination.time,
            Self::TimeWaitSummary(namespace) => namespace.time,
            Self::Cleared(cleared) => cleared.time,
            Self::Summary(summary) => summary.time,
            Self::ClearEnd(end) => end.summary.time,
            Self::Other(other) => other.time(),
        }
    }

    /// Whether it is the last of its session.
    pub fn is_summary(&self) -> bool {
        match self {
            Self::Summary(_) | Self::ClearEnd(_) => true,
            Self::Other(other) => other.kind() == "summary",
            _ => false,
        }
    }
}

/// Something with the wall-clock time it happened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed<T> {
    /// Wall-clock time.
    pub time: Timestamp,
    /// What happened.
    pub what: T,
}

/// Who is speaking, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of tcptrace that speaks.
    pub version: String,
    /// The machine.
    pub host: HostIdentity,
    /// When the session began.
    pub started: Timestamp,
    /// The command line.
    pub command: Vec<String>,
    /// Which way into the kernel was taken.
    pub backend: String,
}

/// How long a socket has been in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// In nanoseconds.
    pub ns: u64,
    /// False when it began before it could be seen, so that it is this long at least.
    pub is_exact: bool,
    /// For an age that is not exact: it is at most this long, in nanoseconds, when even that is known.
    pub at_most_ns: Option<u64>,
}

impl Age {
    /// Of a socket that has been in CLOSE_WAIT `since` some time, at `now_ns` (CLOCK_MONOTONIC).
    pub fn at(since: Since, now_ns: u64) -> Self {
        let (ns, at_most_ns) = since.age_at(now_ns);
        Self { ns, is_exact: since.is_exact(), at_most_ns }
    }

    /// What [`Age::ns`] is: `exact` or `at_least`.
    pub fn kind(&self) -> &'static str {
        if self.is_exact { "exact" } else { "at_least" }
    }

    /// The longest that it can be, in nanoseconds, when that is known.
    pub fn at_most(&self) -> Option<u64> {
        if self.is_exact { Some(self.ns) } else { self.at_most_ns }
    }
}

/// A socket that has been in CLOSE_WAIT for longer than the threshold, or was asked for by its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// When it was looked at.
    pub time: Timestamp,
    /// The socket.
    pub socket: Socket,
    /// Its state: CLOSE_WAIT, unless others were asked for.
    pub state: State,
    /// Time in CLOSE_WAIT; `None` in other states.
    pub age: Option<Age>,
    /// Bytes the application has not read, the FIN counting as one; `None` when not known.
    pub recv_q: Option<u32>,
    /// Bytes the peer has not acknowledged; `None` when not known.
    pub send_q: Option<u32>,
    /// Why; `None` when that cannot be told.
    pub verdict: Option<Verdict>,
    /// Who holds it, each with the evidence.
    pub owners: Vec<Owner>,
    /// Who opened it, when that was seen.
    pub opened_by: Option<Timed<OpenedBy>>,
    /// The first read that returned the end of file; `None` when that was not watched (`--deep`), when
    /// nobody read it, when it was read by splice() or before it was watched, and when one read took it
    /// together with the last data: that one returned a length, and only another one tells the application.
    pub eof_read_by: Option<Timed<CalledBy>>,
}

/// How a socket left CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedHow {
    /// A process closed it (or shut down its sending side).
    Closed,
    /// The peer or a timeout reset the connection.
    Reset,
    /// An administrator destroyed it (SOCK_DESTROY).
    Destroyed,
    /// The process that held it ended.
    OwnerExited,
}

/// A socket that had been reported left CLOSE_WAIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakEnd {
    /// When.
    pub time: Timestamp,
    /// The socket.
    pub socket: Socket,
    /// The whole time in CLOSE_WAIT.
    pub age: Age,
    /// How; `None` when the transition itself was not seen.
    pub how: Option<EndedHow>,
    /// Who closed it: seen in that process's own context.
    pub closed_by: Option<Owner>,
}

/// What became of the records of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Records that came from the kernel side.
    pub records: u64,
    /// Records that found the ring buffer full, and transitions of any kind that the kernel side could not look at.
    pub lost: u64,
    /// Records that made no sense.
    pub undecodable: u64,
    /// Sockets that found a table full, in the kernel or here.
    pub evicted: u64,
    /// Reported sockets for which nobody could be named.
    pub unattributed: u64,
    /// Sockets whose opener was not kept, because too many were opened at once.
    pub openers_skipped: u64,
    /// Records that this output is without, because it could not be written as fast as they came, or at all.
    pub dropped: u64,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// When it ended.
    pub time: Timestamp,
    /// How long it was, in nanoseconds.
    pub duration_ns: u64,
    /// What became of the records.
    pub totals: Totals,
    /// Sockets in CLOSE_WAIT at the end, stuck or not; `None` where that was not looked at.
    pub in_close_wait: Option<u64>,
    /// One entry a process that held a stuck socket, the worst first.
    pub processes: Vec<ProcessSummary>,
    /// Processes that have no entry any more: there were too many, and all their sockets are closed.
    pub more_processes: u64,
}

/// What one process held.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessSummary {
    /// Who.
    pub process: Arc<crate::model::process::ProcessIdentity>,
    /// Sockets that were reported for it.
    pub sockets: u64,
    /// Of these, how many are still in CLOSE_WAIT.
    pub still_stuck: u64,
    /// The longest time in CLOSE_WAIT, in nanoseconds.
    pub oldest_ns: u64,
    /// Growth: stuck sockets a minute, as the median of all slopes between samples, so that a burst is no
    /// trend; `None` when the session was too short to tell.
    pub per_minute: Option<f64>,
    /// How many sockets had which verdict.
    pub verdicts: Vec<(Verdict, u64)>,
    /// Peers, the most frequent first; bounded.
    pub peers: Vec<PeerCount>,
    /// Stacks that opened the sockets, the most frequent first; bounded.
    pub stacks: Vec<StackCount>,
    /// Descriptors in use, when known.
    pub fds_used: Option<u64>,
    /// The process's limit of descriptors, when known.
    pub fds_limit: Option<u64>,
    /// At this rate the descriptors run out in so many nanoseconds; `None` when they do not.
    pub fds_run_out_in_ns: Option<u64>,
}

/// Everything that was found in one look at the host, in the order to be shown.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The sockets, in groups where that was asked for.
    pub groups: Vec<Group>,
    /// What was looked at.
    pub scope: Scope,
    /// The sums.
    pub summary: Summary,
}

/// Sockets that have something in common.
#[derive(Clone, Debug)]
pub struct Group {
    /// What that is; `None` when nothing was asked for.
    pub title: Option<String>,
    /// The sockets, the oldest first.
    pub leaks: Vec<Leak>,
}

/// What was looked at, so that "nothing found" means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// States that were asked for.
    pub states: StateSet,
    /// Network namespaces.
    pub namespaces: u64,
    /// Processes.
    pub processes: u64,
    /// Processes and bind mounts whose namespace could not be read.
    pub unreadable: u64,
}

/// How many stuck sockets go to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCount {
    /// The peer.
    pub peer: crate::model::endpoints::Endpoint,
    /// Sockets.
    pub count: u64,
}

/// How many stuck sockets were opened from one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackCount {
    /// The stack.
    pub stack: Arc<Stack>,
    /// Sockets.
    pub count: u64,
}
