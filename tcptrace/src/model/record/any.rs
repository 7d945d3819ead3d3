//! A record of any type. Its type is the first of its fields.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{
    cleared::{ClearEnd, Cleared},
    header::{Header, SCHEMA, Versioned},
    leak::{Leak, LeakEnd},
    other::Other,
    summary::Summary,
    time_wait::{TimeWait, TimeWaitSummary},
    timed::Timed,
};
use crate::model::transition::Transition;

/// Anything that a session says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// The first record of a session.
    #[serde(serialize_with = "versioned")]
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
    #[serde(rename = "summary")]
    ClearEnd(Box<ClearEnd>),
    /// A record that was read, of a type that nothing here works with.
    #[serde(untagged)]
    Other(Box<Other>),
}

impl Record {
    /// When it happened, or was found out.
    #[must_use]
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
    #[must_use]
    pub fn is_summary(&self) -> bool {
        match self {
            Self::Summary(_) | Self::ClearEnd(_) => true,
            Self::Other(other) => other.kind() == "summary",
            _ => false,
        }
    }
}

#[expect(clippy::borrowed_box, reason = "serde hands out what the variant holds")]
fn versioned<S: Serializer>(header: &Box<Header>, serializer: S) -> Result<S::Ok, S::Error> {
    Versioned { schema: SCHEMA, header }.serialize(serializer)
}
