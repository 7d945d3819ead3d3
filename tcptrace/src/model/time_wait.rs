//! TIME_WAIT by destination: values shared by rules and records.

use std::net::IpAddr;

use super::endpoints::Endpoint;

/// What minisockets are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// Connections of this host to one port of one peer, each from another local port.
    Outgoing {
        /// The address on this side.
        local: IpAddr,
        remote: Endpoint,
    },
    /// Connections to a port of this host.
    Incoming { local: Endpoint },
}

impl Destination {
    /// The address on this side.
    pub fn local(&self) -> IpAddr {
        match self {
            Self::Outgoing { local, .. } => *local,
            Self::Incoming { local } => local.ip(),
        }
    }
}

/// A process seen closing sockets, by its number in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CloserId(pub u32);

/// The ports of one destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundPorts {
    /// Ports in use.
    pub used: u64,
    /// Of these, those that connect() may take over. `None` if that depends on the peer and is unknown: other
    /// values then assume that it cannot.
    pub reusable: Option<u64>,
    /// Ports in all.
    pub total: u64,
    /// Connections per second that the ports sustain forever.
    pub most_per_second: f64,
    /// Nanoseconds until no port is left.
    pub dry_in_ns: Option<u64>,
}

impl FoundPorts {
    /// Ports not available now, as far as known.
    pub fn taken(&self) -> u64 {
        self.used.saturating_sub(self.reusable.unwrap_or_default())
    }

    /// Whether this share of the ports is not available now.
    pub fn reaches(&self, percent: u64) -> bool {
        self.taken() * 100 >= self.total * percent
    }
}
