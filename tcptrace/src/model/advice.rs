//! Advice on a namespace's TIME_WAIT, each with the numbers behind it. Decides nothing: rules and sentences are in
//! `diagnosis::time_wait`.

use std::net::IpAddr;

use super::{endpoints::Endpoint, record::address_use::AddressUse, state::State, sysctl_setting::Setting};

/// A process, or several of one name, as named to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closer {
    /// Its escaped name with its pid, its command line and where it runs.
    pub name: String,
    /// Minisockets it was seen closing, or sockets it holds.
    pub count: u64,
}

/// Why bind() to an address fails with EADDRINUSE.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressInUse {
    /// What stands in the way.
    pub by: AddressUse,
    /// What a listener has accepted.
    pub left_behind: LeftBehind,
    /// Other addresses with the port, about which nothing is said.
    pub more: u64,
}

/// Connections that may outlive their listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    pub open: u64,
    pub minisockets: u64,
    /// Nanoseconds until the last of the minisockets is gone.
    pub last_left_ns: Option<u64>,
}

/// One piece of advice.
#[derive(Clone, Debug, PartialEq)]
pub enum Advice {
    /// bind() to a port that was asked for fails.
    AddressInUse(Box<AddressInUse>),
    /// Nothing has a port that was asked for.
    AddressFree {
        port: u16,
        /// Whether connect() may choose it.
        is_chosen: bool,
        /// Whether this kernel does not list sockets that are only bound.
        hides_bound: bool,
    },
    /// connect() has chosen a port that was asked for.
    ReservePort {
        port: u16,
        /// First and last port of the range.
        range: (u16, u16),
        /// The value of `ip_local_reserved_ports`.
        reserved: String,
        /// Where it is set.
        place: Option<Setting>,
    },
    /// The ports of a destination run out, or have run out.
    PortsRunDry {
        remote: Endpoint,
        local: IpAddr,
        /// Ports not available now.
        taken: u64,
        /// Ports in all.
        total: u64,
        /// Connections per second at present.
        per_second: Option<f64>,
        /// Connections per second that the ports sustain forever.
        most_per_second: f64,
        /// Nanoseconds until no port is left.
        dry_in_ns: Option<u64>,
        /// Whether connect() may take over ports if the peer has timestamps, which is unknown.
        is_up_to_peer: bool,
        /// The ports in use by the state of their sockets, the most frequent first.
        by_state: Vec<(State, u64)>,
        /// Who holds most of them, if anybody does.
        holder: Option<Closer>,
        /// How many others hold some.
        other_holders: u64,
    },
    /// Half of the ports of a destination are taken: connect() has to look for one that is free.
    ConnectIsSlow {
        remote: Endpoint,
        local: IpAddr,
        /// Ports not available now.
        taken: u64,
        /// Ports in all.
        total: u64,
        /// Other destinations like this.
        more: u64,
    },
    /// Sockets that listen, or were bound by the application, have much of the range.
    PortsBound {
        /// First and last port of the range.
        range: (u16, u16),
        /// Ports of the range that they have.
        bound: u32,
        /// Reserved ports in the range.
        reserved: u32,
        /// Ports that are left.
        usable: u32,
        /// Who holds most of them, if known.
        who: Option<Closer>,
    },
    /// Many short connections to one destination.
    ConnectionPool {
        remote: Endpoint,
        /// Who closed most of them, if seen.
        who: Option<Closer>,
        count: u64,
        per_second: Option<f64>,
        /// Open connections.
        open: u64,
        /// Other destinations like this.
        more: u64,
    },
    /// Many connections were closed here first, and no more are.
    BurstIsOver {
        /// Minisockets.
        count: u64,
        /// Destinations that they belong to.
        destinations: u64,
        /// Nanoseconds until the last of them is gone.
        last_left_ns: u64,
    },
    ServerClosesFirst {
        local: Endpoint,
        /// Who closed most of them, if seen.
        who: Option<Closer>,
        count: u64,
        per_second: Option<f64>,
        /// Other services like this.
        more: u64,
    },
    /// The range of ports could be wider.
    WidenPortRange {
        /// First and last port of the range.
        range: (u16, u16),
        /// Reserved ports in the range.
        reserved: u32,
        /// Other ports in the range that are bound.
        bound: u32,
        /// The lowest first port it could have.
        lowest: u16,
        /// Where the range is set.
        place: Option<Setting>,
    },
    /// What `tcp_tw_reuse` does for these sockets.
    Reuse {
        value: u32,
        /// Milliseconds after which a port can be taken over.
        delay_ms: u32,
        /// In TIME_WAIT: outgoing connections over loopback.
        loopback: u64,
        /// In TIME_WAIT: other outgoing connections.
        elsewhere: u64,
        /// In TIME_WAIT: incoming connections.
        incoming: u64,
        fin_wait2: u64,
        /// Whether this kernel certainly leaves those alone.
        leaves_fin_wait2: bool,
        place: Option<Setting>,
    },
    /// `tcp_tw_reuse` is on, and timestamps are off.
    NoTimestamps {
        /// The value of `tcp_tw_reuse`.
        reuse: u32,
        /// Where timestamps are turned off.
        place: Option<Setting>,
    },
    /// What `tcp_fin_timeout` does, and what not.
    FinTimeout {
        /// Its value in seconds.
        seconds: u32,
        /// Minisockets in FIN_WAIT2.
        fin_wait2: u64,
        place: Option<Setting>,
    },
    /// A setting that this kernel no longer has.
    RecycleIsDead { place: Setting },
    /// The table was full or is about to be.
    TooManyBuckets {
        /// Minisockets now.
        used: u64,
        /// The limit.
        most: u64,
        /// Sockets that skipped TIME_WAIT since the namespace was created.
        overflowed: u64,
        /// The same, per second at present.
        per_second: Option<f64>,
        /// Whether no minisockets come any more.
        is_over: bool,
        /// Where the limit is set.
        place: Option<Setting>,
    },
}

impl Advice {
    /// The name that scripts compare.
    pub fn id(&self) -> &'static str {
        match self {
            Self::AddressInUse(in_use) if in_use.by.fails_with_reuseaddr() => "address_in_use",
            Self::AddressInUse(_) => "needs_so_reuseaddr",
            Self::AddressFree { .. } => "address_free",
            Self::ReservePort { .. } => "ip_local_reserved_ports",
            Self::PortsRunDry { .. } => "ports_run_dry",
            Self::ConnectIsSlow { .. } => "connect_is_slow",
            Self::PortsBound { .. } => "ports_bound",
            Self::ConnectionPool { .. } => "connection_pool",
            Self::ServerClosesFirst { .. } => "server_closes_first",
            Self::BurstIsOver { .. } => "burst_is_over",
            Self::WidenPortRange { .. } => "ip_local_port_range",
            Self::Reuse { .. } => "tcp_tw_reuse",
            Self::NoTimestamps { .. } => "tcp_timestamps",
            Self::FinTimeout { .. } => "tcp_fin_timeout",
            Self::RecycleIsDead { .. } => "tcp_tw_recycle",
            Self::TooManyBuckets { .. } => "tcp_max_tw_buckets",
        }
    }

    /// The line in a file that it is about.
    pub fn place(&self) -> Option<&Setting> {
        match self {
            Self::AddressInUse(_)
            | Self::AddressFree { .. }
            | Self::PortsRunDry { .. }
            | Self::ConnectIsSlow { .. }
            | Self::PortsBound { .. }
            | Self::ConnectionPool { .. }
            | Self::BurstIsOver { .. }
            | Self::ServerClosesFirst { .. } => None,
            Self::RecycleIsDead { place } => Some(place),
            Self::ReservePort { place, .. }
            | Self::WidenPortRange { place, .. }
            | Self::Reuse { place, .. }
            | Self::NoTimestamps { place, .. }
            | Self::FinTimeout { place, .. }
            | Self::TooManyBuckets { place, .. } => place.as_ref(),
        }
    }

    /// Whether it answers why bind() fails, or that it does not.
    pub fn is_about_bind(&self) -> bool {
        matches!(self, Self::AddressInUse(_) | Self::AddressFree { .. } | Self::ReservePort { .. })
    }

    /// Whether something is broken or is about to break.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::AddressInUse(in_use) => in_use.by.fails_with_reuseaddr(),
            // Ports that are scarce, and do not become fewer, break nothing.
            Self::PortsRunDry { dry_in_ns, .. } => dry_in_ns.is_some(),
            Self::PortsBound { .. } | Self::RecycleIsDead { .. } => true,
            Self::TooManyBuckets { used, most, per_second, is_over, .. } => {
                per_second.map_or(used >= most && !is_over, |rate| rate > 0.0)
            }
            _ => false,
        }
    }
}
