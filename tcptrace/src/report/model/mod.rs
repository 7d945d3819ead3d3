//! What a report says; text, JSON and HTML only render it. The JSON form is this type, field by field, so the
//! names are a promise: fields may be added, never renamed.
//!
//! Durations end in `_ns`, times are RFC 3339, unknown values are `null`.

pub(crate) mod closed_first;
pub(crate) mod headline;
pub(crate) mod over;
pub(crate) mod ranking;
pub(crate) mod sockets;

use serde::Serialize;

use self::{
    closed_first::ClosedFirst,
    headline::Headline,
    over::ConnectionsOver,
    ranking::{PeerShare, ProcessShare, ProgramShare, Ranking, StackShare, VerdictShare},
    sockets::{CloseWait, Durations, OverTime, WorstSocket},
};
use super::{caveats::Caveat, session_kind::SessionKind, time::Time};
use crate::model::{coverage::NotLookedAt, record::Totals};

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Identifies the document as a report.
    pub r#type: &'static str,
    /// Version of this schema.
    pub schema: u32,
    /// Version of tcptrace.
    pub version: &'static str,
    pub headline: Headline,
    /// The filters and the threshold.
    pub asked: Asked,
    /// The time the recordings cover within the window; `None` when they are empty.
    pub span: Option<Span>,
    pub sessions: Vec<SessionReport>,
    /// Files without a record.
    pub without_records: Vec<FileReport>,
    /// Records counted.
    pub records: super::aggregate::Taken,
    pub close_wait: CloseWait,
    /// Sockets in CLOSE_WAIT over time; `None` when all recordings are snapshots.
    pub over_time: Option<OverTime>,
    /// The lengths of stays.
    pub durations: Durations,
    /// The most frequent verdict first.
    pub verdicts: Vec<VerdictShare>,
    /// The holders, worst first.
    pub processes: Ranking<ProcessShare>,
    /// The processes that are called as the worst one is, listed or not: in no document.
    #[serde(skip)]
    pub program: Option<ProgramShare>,
    pub peers: Ranking<PeerShare>,
    pub stacks: Ranking<StackShare>,
    pub worst: Vec<WorstSocket>,
    /// Descriptors of connections that are over; `None` when there are none.
    pub connections_over: Option<ConnectionsOver>,
    /// `None` when no transitions were recorded.
    pub closed_first: Option<ClosedFirst>,
    pub cannot_claim: Vec<Caveat>,
}

/// What the user asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Asked {
    pub from: Option<Time>,
    pub to: Option<Time>,
    /// The threshold for stays that no session reported.
    pub older_than_ns: u64,
    /// Whether there were filters on connections or owners.
    pub is_filtered: bool,
}

/// The time between two moments.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Span {
    pub first: Time,
    pub last: Time,
    pub duration_ns: u64,
}

/// A recorded session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionReport {
    /// The files of its recording.
    pub files: Vec<FileReport>,
    /// `None` for a file without a header.
    pub host: Option<String>,
    pub kernel: Option<String>,
    pub boot_id: Option<String>,
    pub command: Option<String>,
    pub kind: SessionKind,
    /// How the tracer attached: `btf` or `tracepoint`.
    pub backend: Option<String>,
    pub started: Time,
    /// The time of its last record.
    pub last: Time,
    /// Whether its summary was read.
    pub has_ended: bool,
    /// Whether it looked at the sockets in CLOSE_WAIT.
    pub records_close_wait: bool,
    /// The session's own loss counters, as last written.
    pub lost: Totals,
    /// What could not be looked at, by its summary; null where it does not say.
    pub not_looked_at: Option<NotLookedAt>,
}

impl SessionReport {
    /// Whether it does not say of itself that something could not be looked at.
    pub(crate) fn looked_everywhere(&self) -> bool {
        self.not_looked_at.as_ref().is_none_or(NotLookedAt::is_nothing)
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileReport {
    pub name: String,
    pub records: u64,
    /// Records of the session that came before this file.
    pub before: u64,
    /// Records that the writer dropped because its output was too slow.
    pub dropped: u64,
    /// Other records known to be missing.
    pub missing: u64,
    /// Damaged blocks or lines.
    pub damaged: u64,
    /// Records of types that this version does not know.
    pub unknown: u64,
    /// How often the file was truncated while it was read.
    pub truncated: u64,
    /// It ends in the middle of a record.
    pub is_cut: bool,
    /// It was rotated: the session continues in another file.
    pub goes_on: bool,
    /// Why it could not be read to the end.
    pub error: Option<String>,
}
