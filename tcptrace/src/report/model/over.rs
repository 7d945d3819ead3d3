//! What a report says of descriptors whose connections are over.

use serde::Serialize;

use super::ranking::{ProcessName, Site};
use crate::model::ended::EndedHow;

/// Descriptors whose connections are over: nobody called close().
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ConnectionsOver {
    pub descriptors: u64,
    /// There were too many to count each.
    pub is_lower_bound: bool,
    /// Those who keep the most first.
    pub processes: Vec<OverShare>,
    /// Processes that are not listed.
    pub other_processes: u64,
}

/// What one process keeps.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OverShare {
    /// The first holder; `None` when nobody is known.
    pub process: Option<ProcessName>,
    pub descriptors: u64,
    pub ended: Vec<OverWay>,
    /// The line of code that opened most of them.
    #[serde(flatten)]
    pub site: Site,
}

/// Descriptors by how their connections ended.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OverWay {
    /// `None` where nobody saw it.
    pub how: Option<EndedHow>,
    pub descriptors: u64,
}

impl OverShare {
    /// `50 reset by the peer, 2 timed out`.
    pub(crate) fn ways(&self) -> String {
        let way = |OverWay { how, descriptors }: &OverWay| match how {
            Some(how) => format!("{descriptors} {}", how.in_words()),
            None => format!("{descriptors} before anybody looked"),
        };
        self.ended.iter().map(way).collect::<Vec<_>>().join(", ")
    }
}
