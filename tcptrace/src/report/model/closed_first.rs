//! What a report says of who closed first.

use serde::Serialize;

use super::{
    Time,
    ranking::{ProcessName, Ranking},
};
use crate::report::side::Peer;

/// Who closed connections first: the side that does keeps them in TIME_WAIT.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ClosedFirst {
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
pub(crate) struct CloserShare {
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
pub(crate) struct PeerCloses {
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
