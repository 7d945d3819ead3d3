//! What a report says. The forms (text, JSON, HTML) only differ in how they show it; the JSON form is this, field by
//! field (README, "Reports"), so names are a promise: more may be added.
//!
//! Durations end in `_ns`, times are RFC 3339. What is not known is `null`.

pub(crate) mod closed_first;
pub(crate) mod ranking;
pub(crate) mod sockets;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

pub(crate) use self::{
    closed_first::ClosedFirst,
    ranking::{PeerShare, ProcessShare, Ranking, StackShare, VerdictShare},
    sockets::{CloseWait, Durations, OverTime, WorstSocket},
};
use super::{cast::Kind, caveats::Caveat, headline::Headline};
use crate::model::record::Totals;

/// A time, serialized as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// What this is.
    pub r#type: &'static str,
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
    /// Files that gave no record at all.
    pub without_records: Vec<FileReport>,
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
pub(crate) struct Asked {
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
pub(crate) struct Span {
    /// When it begins.
    pub first: Time,
    /// When it ends.
    pub last: Time,
    /// From the one to the other.
    pub duration_ns: u64,
}

/// A session that was recorded.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionReport {
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
pub(crate) struct FileReport {
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
    /// It was rotated: the session goes on in another file.
    pub goes_on: bool,
    /// It could not be read to its end: why.
    pub error: Option<String>,
}
