//! One look at the host: what `now` shows.

use super::{leak::Leak, summary::Summary};
use crate::model::{coverage::NotLookedAt, state::StateSet};

/// Everything that was found in one look at the host, in the order to be shown.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The sockets, in groups where that was asked for.
    pub groups: Vec<Group>,
    /// Descriptors whose connection is over, where sockets in CLOSE_WAIT or CLOSE were asked for.
    pub over: Vec<Leak>,
    /// Sockets in CLOSE_WAIT that the filters leave out.
    pub others: u64,
    /// What was looked at.
    pub scope: Scope,
    /// The sums.
    pub summary: Summary,
}

/// Sockets that have something in common.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What that is; `None` when nothing was asked for.
    pub title: Option<String>,
    /// The sockets, the oldest first.
    pub leaks: Vec<Leak>,
}

/// What was looked at, so that "nothing found" means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// States that were asked for.
    pub states: StateSet,
    /// Network namespaces.
    pub namespaces: u64,
    pub processes: u64,
    /// What could not be looked at.
    pub not_looked_at: NotLookedAt,
}
