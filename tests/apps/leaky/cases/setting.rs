//! What can be set about the cases. Most cases heed the address family and how many sockets to leak.

use crate::message::Sleep;
use clap::ValueEnum;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    #[value(name = "4")]
    V4,
    #[value(name = "6")]
    V6,
    /// IPv4 on an IPv6 socket of the leaking side.
    Mapped,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Setting {
    /// Address family of the leaking side
    #[arg(long, value_enum, default_value = "4")]
    pub family: Family,
    /// Sockets to leak, in all
    #[arg(long, default_value_t = 1)]
    pub count: usize,
    /// Processes that share them (many)
    #[arg(long, default_value_t = 10)]
    pub processes: usize,
    /// Descriptors that are no sockets, for each holder (many)
    #[arg(long, default_value_t = 0)]
    pub ballast: usize,
    /// Where the holder is put, relative to the cgroup root (cgroup)
    #[arg(long, default_value = "system.slice/leaky-test.service")]
    pub cgroup: PathBuf,
    /// Version of the cgroups that freeze the holder (holder_frozen)
    #[arg(long, default_value_t = 2)]
    pub freezer: u8,
    /// The call in which the listener's holder sleeps (nobody_accepts)
    #[arg(long, value_enum, default_value = "signal")]
    pub sleep: SleepCall,
    /// How much those who are never idle give way to others (spins_…, computes…)
    #[arg(long, default_value_t = 0)]
    pub nice: i32,
}

/// Calls in which nobody waits for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SleepCall {
    Signal,
    Child,
    Poll,
    Select,
}

impl SleepCall {
    pub(super) fn call(self) -> Sleep {
        match self {
            Self::Signal => Sleep::Signal,
            Self::Child => Sleep::Child,
            Self::Poll => Sleep::Poll,
            Self::Select => Sleep::Select,
        }
    }
}

impl Family {
    /// Where the leaking side listens.
    pub(super) fn own_address(self) -> SocketAddr {
        let address = match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            // A dual-stack listener is what makes v4-mapped sockets in real life.
            Self::Mapped => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        SocketAddr::new(address, 0)
    }

    /// Where the leaking side listens for whatever address of this host is dialled.
    pub(super) fn wildcard(self) -> SocketAddr {
        match self {
            Self::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            Self::V6 | Self::Mapped => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        }
    }

    /// Where the peer listens, which never knows of mapping.
    pub(super) fn peer_address(self) -> SocketAddr {
        match self {
            Self::V4 | Self::Mapped => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Self::V6 => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        }
    }

    /// How the leaking side writes the address of a peer.
    pub(super) fn dialled(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Self::Mapped, IpAddr::V4(v4)) => {
                SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), address.port())
            }
            _ => address,
        }
    }
}
