//! TIME_WAIT by destination: values that the rules and the records share.

use super::endpoints::Endpoint;
use std::net::IpAddr;

/// What minisockets are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// Connections from this host, each from a port of its own, to one port of one peer.
    Outgoing {
        /// The address on this side.
        local: IpAddr,
        /// The peer.
        remote: Endpoint,
    },
    /// Connections that were made to a port of this host.
    Incoming {
        /// The service.
        local: Endpoint,
    },
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

/// A process that was seen closing sockets, by a number that is its own in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CloserId(pub u32);

/// The ports of one destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundPorts {
    /// Those in use.
    pub used: u64,
    /// Of these, those that connect() may take over; `None` when that is up to the peer, and not known: the rest is
    /// then told as if it could not.
    pub reusable: Option<u64>,
    /// Those there are.
    pub total: u64,
    /// Connections a second that there will always be ports for.
    pub most_per_second: f64,
    /// Nanoseconds until none is left.
    pub dry_in_ns: Option<u64>,
}

impl FoundPorts {
    /// Ports that cannot be had now, as far as is known.
    pub fn taken(&self) -> u64 {
        self.used.saturating_sub(self.reusable.unwrap_or_default())
    }

    /// Whether so many percent of the ports cannot be had now.
    pub fn reaches(&self, percent: u64) -> bool {
        self.taken() * 100 >= self.total * percent
    }
}
