//! What a report says about who closed first.

use serde::Serialize;

use super::ranking::{ProcessName, Ranking};
use crate::report::{side::Peer, time::Time};

/// Connections by who closed first: that side keeps them in TIME_WAIT.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ClosedFirst {
    /// By this host: each leaves a socket in TIME_WAIT here.
    pub by_us: u64,
    /// By the peer: TIME_WAIT is there.
    pub by_peer: u64,
    /// Reset: no TIME_WAIT at all.
    pub reset: u64,
    /// The time that the rates cover.
    pub duration_ns: u64,
    pub processes: Ranking<CloserShare>,
    /// Peers, by how often this host closed first.
    pub peers: Ranking<PeerCloses>,
    /// Start of the first step.
    pub first: Time,
    pub step_ns: u64,
    /// Per step.
    pub by_us_over_time: Vec<u64>,
    /// Per step.
    pub by_peer_over_time: Vec<u64>,
    /// Per step.
    pub reset_over_time: Vec<u64>,
}

/// The connections that one process closed first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CloserShare {
    #[serde(flatten)]
    pub process: ProcessName,
    pub closed_first: u64,
    pub per_second: f64,
    /// Its share of all that this host closed first, 0 to 1.
    pub share: f64,
}

/// Closes towards one peer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeerCloses {
    #[serde(flatten)]
    pub peer: Peer,
    /// Closed first by this host.
    pub by_us: u64,
    pub per_second: f64,
    /// Closed first by the peer.
    pub by_peer: u64,
    pub reset: u64,
}
