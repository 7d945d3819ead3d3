//! What is said about TIME_WAIT: one record a destination, one a network namespace, and all of them as one look at the
//! host, in the order to be shown.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::model::{
    advice::Advice,
    owner::Owner,
    tcp_counters::{PerCounter, TcpCounters},
    tcp_settings::TcpSettings,
    time_wait::{Destination, FoundPorts},
};

/// The minisockets of one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeWait {
    /// When it was looked at.
    pub time: Timestamp,
    /// The network namespace.
    pub netns: u32,
    /// The peer and its port, or the service of this host.
    pub destination: Destination,
    /// Sockets in TIME_WAIT.
    pub count: u64,
    /// Minisockets in FIN_WAIT2.
    pub fin_wait2: u64,
    /// Connections that are open: in any other state.
    pub open: u64,
    /// The local ports; `None` for a service, and where the range is not known.
    pub ports: Option<FoundPorts>,
    /// Connections closed here first, a second; `None` without tracing, and when too short a time was traced.
    pub per_second: Option<f64>,
    /// Minisockets that came lately, a second, by the time that each has left; `None` when they are too few.
    pub entered_per_second: Option<f64>,
    /// Nanoseconds until the oldest is gone; `None` when all are in FIN_WAIT2.
    pub oldest_left_ns: Option<u64>,
    /// Who closed them first, the most frequent first; empty when that was not seen.
    pub closed_first_by: Vec<ClosedFirstBy>,
    /// How many of them nobody was seen closing; `None` without tracing.
    pub closed_first_unseen: Option<u64>,
    /// Who has a connection to it open, or listens there: they may have closed those too. Only where
    /// nothing was traced.
    pub candidates: Vec<Owner>,
    /// Peers of a service, the most frequent first; bounded.
    pub peers: Vec<(IpAddr, u64)>,
    /// Connections of further peers.
    pub more_peers: u64,
}

/// A process that closed sockets first.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ClosedFirstBy {
    /// Who.
    #[serde(flatten)]
    pub owner: Owner,
    /// How many of the minisockets that are there.
    pub count: u64,
    /// For how many processes this one stands: of very many, those of one name and place are told together.
    pub processes: u64,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeWaitSummary {
    /// When it was looked at.
    pub time: Timestamp,
    /// Its inode number.
    pub netns: u32,
    /// Sockets in TIME_WAIT, those that a filter leaves out included.
    pub count: u64,
    /// Minisockets in FIN_WAIT2, those that a filter leaves out included.
    pub fin_wait2: u64,
    /// Both, as the kernel counts them for the limit; `None` where it does not tell.
    pub buckets_used: Option<u64>,
    /// What the kernel counts, since the namespace was made.
    pub counters: TcpCounters,
    /// The same, a second since the last look; `None` at the first.
    pub per_second: Option<PerCounter<f64>>,
    /// The settings.
    pub settings: TcpSettings,
    /// Local ports that connect() can choose from.
    pub ports: Option<LocalPorts>,
    /// Destinations that pass the filters.
    pub destinations: u64,
    /// Minisockets of destinations that there was no room for.
    pub crowded_out: u64,
    /// What to do.
    pub advice: Vec<Advice>,
}

/// The local ports of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LocalPorts {
    /// The first of the range.
    pub first: u16,
    /// The last of the range.
    pub last: u16,
    /// How many in it are reserved.
    pub reserved: u32,
    /// How many others in it are bound by somebody.
    pub bound: u32,
    /// How many are left.
    pub usable: u32,
}

/// One look at the host.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeWaitLook {
    /// When.
    pub time: Timestamp,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Whether it is known who closes: it is traced.
    pub is_traced: bool,
    /// Network namespaces that were looked into.
    pub namespaces_found: u64,
    /// Processes, bind mounts and namespaces that could not be looked into.
    pub unreadable: u64,
    /// Those with something to tell, each with its destinations, the largest first.
    pub namespaces: Vec<(TimeWaitSummary, Vec<TimeWait>)>,
}
