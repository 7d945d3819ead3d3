//! TIME_WAIT: what fills the table of a network namespace, when the ports of a destination run out, who
//! closed first, and what may be advised about it. Pure: it is told what the kernel lists, and the time.
//!
//! A socket that was closed here first is replaced by a *minisocket*: in FIN_WAIT2 until the peer has
//! closed as well (`tcp_fin_timeout` at most), then in TIME_WAIT for a minute, a constant. Nobody holds it, and no
//! descriptor leads to it.

pub mod advice;
pub mod closings;
pub mod forecast;
mod group;
pub mod ports;
mod prose;
pub mod reuse;
pub mod rules;
pub mod table;

use std::net::IpAddr;

use crate::transition::Endpoint;

pub use self::group::Group;

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
pub struct CloserId(pub u32);
