//! What may be advised about a namespace's TIME_WAIT: each advice with the numbers behind it. The sentences, and
//! when each is given, are in `diagnosis::time_wait`.

use super::{endpoints::Endpoint, sysctl_setting::Setting};
use std::net::IpAddr;

/// A process, or several of one name, as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closer {
    /// Its name, harmless to a terminal, with its pid.
    pub name: String,
    /// Minisockets that it was seen closing.
    pub count: u64,
}

/// Something to do, or to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Advice {
    /// The ports of a destination run out, or have.
    PortsRunDry {
        /// Where to.
        remote: Endpoint,
        /// From which address.
        local: IpAddr,
        /// Ports that cannot be had now.
        taken: u64,
        /// Ports there are.
        total: u64,
        /// Connections a second at present.
        per_second: Option<f64>,
        /// Connections a second that there will always be ports for.
        most_per_second: f64,
        /// Nanoseconds until none is left.
        dry_in_ns: Option<u64>,
        /// Whether connect() may take ports over if the peer has timestamps, which is not known.
        is_up_to_peer: bool,
    },
    /// Many short connections to one destination.
    ConnectionPool {
        /// Where to.
        remote: Endpoint,
        /// Who closed most of them, where that was seen.
        who: Option<Closer>,
        /// Minisockets.
        count: u64,
        /// Connections a second.
        per_second: Option<f64>,
        /// Connections that are open.
        open: u64,
        /// Further destinations like this.
        more: u64,
    },
    /// A server closes first.
    ServerClosesFirst {
        /// The service.
        local: Endpoint,
        /// Who closed most of them, where that was seen.
        who: Option<Closer>,
        /// Minisockets.
        count: u64,
        /// Connections a second.
        per_second: Option<f64>,
        /// Further services like this.
        more: u64,
    },
    /// The range of ports could be wider.
    WidenPortRange {
        /// First and last port of the range.
        range: (u16, u16),
        /// Ports in it that are reserved.
        reserved: u32,
        /// Others in it that are bound.
        bound: u32,
        /// The first port that it could have.
        lowest: u16,
        /// Where the range is set.
        place: Option<Setting>,
    },
    /// What `tcp_tw_reuse` does for these sockets.
    Reuse {
        /// Its value.
        value: u32,
        /// After how many milliseconds a port can be taken over.
        delay_ms: u32,
        /// In TIME_WAIT: connections from here over loopback.
        loopback: u64,
        /// In TIME_WAIT: other connections from here.
        elsewhere: u64,
        /// In TIME_WAIT: connections to here.
        incoming: u64,
        /// In FIN_WAIT2.
        fin_wait2: u64,
        /// Whether this kernel is sure to leave those alone.
        leaves_fin_wait2: bool,
        /// Where it is set.
        place: Option<Setting>,
    },
    /// `tcp_tw_reuse` is on, and timestamps are off.
    NoTimestamps {
        /// The value of `tcp_tw_reuse`.
        reuse: u32,
        /// Where timestamps are turned off.
        place: Option<Setting>,
    },
    /// What `tcp_fin_timeout` does, and what it does not.
    FinTimeout {
        /// Its value in seconds.
        seconds: u32,
        /// Minisockets in FIN_WAIT2.
        fin_wait2: u64,
        /// Where it is set.
        place: Option<Setting>,
    },
    /// A setting that this kernel does not have any more.
    RecycleIsDead {
        /// Where it is set.
        place: Setting,
    },
    /// The table was full, or is about to be.
    TooManyBuckets {
        /// Minisockets now.
        used: u64,
        /// Minisockets there may be.
        most: u64,
        /// Sockets that went without TIME_WAIT since the namespace was made.
        overflowed: u64,
        /// The same, a second at present.
        per_second: Option<f64>,
        /// Where the limit is set.
        place: Option<Setting>,
    },
}

impl Advice {
    /// Its name for scripts.
    pub fn id(&self) -> &'static str {
        match self {
            Self::PortsRunDry { .. } => "ports_run_dry",
            Self::ConnectionPool { .. } => "connection_pool",
            Self::ServerClosesFirst { .. } => "server_closes_first",
            Self::WidenPortRange { .. } => "ip_local_port_range",
            Self::Reuse { .. } => "tcp_tw_reuse",
            Self::NoTimestamps { .. } => "tcp_timestamps",
            Self::FinTimeout { .. } => "tcp_fin_timeout",
            Self::RecycleIsDead { .. } => "tcp_tw_recycle",
            Self::TooManyBuckets { .. } => "tcp_max_tw_buckets",
        }
    }

    /// The line of a file that it is about.
    pub fn place(&self) -> Option<&Setting> {
        match self {
            Self::PortsRunDry { .. } | Self::ConnectionPool { .. } | Self::ServerClosesFirst { .. } => None,
            Self::RecycleIsDead { place } => Some(place),
            Self::WidenPortRange { place, .. }
            | Self::Reuse { place, .. }
            | Self::NoTimestamps { place, .. }
            | Self::FinTimeout { place, .. }
            | Self::TooManyBuckets { place, .. } => place.as_ref(),
        }
    }

    /// Whether something is broken, or is about to break.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::PortsRunDry { .. } | Self::RecycleIsDead { .. } => true,
            Self::TooManyBuckets { used, most, per_second, .. } => {
                used >= most || per_second.is_some_and(|rate| rate > 0.0)
            }
            _ => false,
        }
    }
}
