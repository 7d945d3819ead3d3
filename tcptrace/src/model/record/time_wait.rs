//! The records about TIME_WAIT: one for each destination and each network namespace, and all of them as one
//! look at the host, in display order.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    address_use::{AddressUse, ByState},
    timed::NanosecondTime,
};
use crate::model::{
    advice::Advice,
    coverage::NotLookedAt,
    endpoints::Address,
    interface::Interface,
    owner::Owner,
    owner_count::OwnerCount,
    state::State,
    tcp_counters::{PerCounter, TcpCounters},
    tcp_settings::TcpSettings,
    time_wait::{Destination, FoundPorts},
};

/// The minisockets of one destination, and the ports that all its connections take.
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
    pub closed_first_by: Vec<OwnerCount>,
    /// How many of them nobody was seen closing; `None` without tracing.
    pub closed_first_unseen: Option<u64>,
    /// Who has a connection to it open, or listens there: they may have closed those too. Only where
    /// nothing was traced.
    pub candidates: Vec<Owner>,
    /// Peers of a service, the most frequent first; bounded.
    pub peers: Vec<(Address, u64)>,
    /// Connections of further peers.
    pub more_peers: u64,
    /// The ports in use by the state of their sockets, the most frequent first; `None` without ports.
    pub ports_by_state: Option<Vec<(State, u64)>>,
    /// How many of the ports in use a process holds; `None` where that was not looked at.
    pub ports_held: Option<u64>,
    /// Who holds them, the most of them first. A socket that several processes hold counts for each.
    pub ports_held_by: Vec<OwnerCount>,
    /// By how much the ports that open connections hold become more a second; `None` when they do not for certain.
    pub ports_held_per_second: Option<f64>,
    /// Nanoseconds until the last of the minisockets is gone, if no more come.
    pub last_left_ns: Option<u64>,
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
    pub settings: TcpSettings,
    /// Local ports that connect() can choose from.
    pub ports: Option<LocalPorts>,
    /// Destinations that pass the filters.
    pub destinations: u64,
    /// Sockets of destinations that there was no room for.
    pub crowded_out: u64,
    /// What to do.
    pub advice: Vec<Advice>,
    /// Who holds the sockets that have bound ports of the range, where they are many.
    pub ports_bound_by: Vec<OwnerCount>,
    /// What has the local ports that were asked for; `None` if none was.
    pub address_uses: Option<Vec<AddressUse>>,
    /// Sockets with such a port at addresses that there was no room for.
    pub address_uses_crowded_out: u64,
}

/// The local ports of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
pub(crate) struct TimeWaitLook {
    pub time: Timestamp,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Whether it is known who closes: it is traced.
    pub is_traced: bool,
    /// Network namespaces that were looked into.
    pub namespaces_found: u64,
    /// What could not be looked at.
    pub not_looked_at: NotLookedAt,
    /// Those with something to tell, each with its destinations, the largest first.
    pub namespaces: Vec<(TimeWaitSummary, Vec<TimeWait>)>,
}

impl Serialize for TimeWait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            time,
            netns,
            destination,
            count,
            fin_wait2,
            open,
            ports,
            per_second,
            entered_per_second,
            oldest_left_ns,
            closed_first_by,
            closed_first_unseen,
            candidates,
            peers,
            more_peers,
            ports_by_state,
            ports_held,
            ports_held_by,
            ports_held_per_second,
            last_left_ns,
        } = self;
        // A service with a single peer has an address on the other side too.
        let only_peer = || match peers[..] {
            [(peer, _)] if *more_peers == 0 => Some(peer),
            _ => None,
        };
        let (side, raddr, rport, lport) = match destination {
            Destination::Outgoing { remote, .. } => {
                ("outgoing", Some(remote.address()), Some(remote.port()), None)
            }
            Destination::Incoming { local } => ("incoming", only_peer(), None, Some(local.port())),
        };
        let of_ports = |number: fn(&FoundPorts) -> u64| ports.as_ref().map(number);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &NanosecondTime(time))?;
        map.serialize_entry("netns", netns)?;
        map.serialize_entry("family", if destination.local().is_ipv4() { &4 } else { &6 })?;
        map.serialize_entry("laddr", &destination.local())?;
        map.serialize_entry("raddr", &raddr.map(Address::ip))?;
        map.serialize_entry("rport", &rport)?;
        map.serialize_entry("side", side)?;
        map.serialize_entry("lport", &lport)?;
        map.serialize_entry("count", count)?;
        map.serialize_entry("fin_wait2", fin_wait2)?;
        map.serialize_entry("open", open)?;
        map.serialize_entry("ports_used", &of_ports(|ports| ports.used))?;
        map.serialize_entry("ports_reusable", &ports.and_then(|ports| ports.reusable))?;
        map.serialize_entry("ports_total", &of_ports(|ports| ports.total))?;
        map.serialize_entry("per_second", &per_second.map(rounded))?;
        map.serialize_entry("entered_per_second", &entered_per_second.map(rounded))?;
        map.serialize_entry("most_per_second", &ports.map(|ports| rounded(ports.most_per_second)))?;
        map.serialize_entry("dry_in_ns", &ports.and_then(|ports| ports.dry_in_ns))?;
        map.serialize_entry("oldest_left_ns", oldest_left_ns)?;
        map.serialize_entry("closed_first_by", closed_first_by)?;
        map.serialize_entry("closed_first_unseen", closed_first_unseen)?;
        map.serialize_entry("candidates", candidates)?;
        map.serialize_entry("peers", &Peers(peers))?;
        map.serialize_entry("more_peers", more_peers)?;
        map.serialize_entry("ports_by_state", &ports_by_state.as_deref().map(ByState))?;
        map.serialize_entry("ports_held", ports_held)?;
        map.serialize_entry("ports_held_by", ports_held_by)?;
        map.serialize_entry("ports_held_per_second", &ports_held_per_second.map(rounded))?;
        let interface = || match destination {
            Destination::Outgoing { .. } => None,
            Destination::Incoming { local } => local.address().interface(),
        };
        map.serialize_entry("interface", &raddr.and_then(Address::interface).or_else(interface))?;
        map.serialize_entry("last_left_ns", last_left_ns)?;
        map.end()
    }
}

impl Serialize for TimeWaitSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            time,
            netns,
            count,
            fin_wait2,
            buckets_used,
            counters,
            per_second,
            settings,
            ports,
            destinations,
            crowded_out,
            advice,
            ports_bound_by,
            address_uses,
            address_uses_crowded_out,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &NanosecondTime(time))?;
        map.serialize_entry("netns", netns)?;
        map.serialize_entry("count", count)?;
        map.serialize_entry("fin_wait2", fin_wait2)?;
        map.serialize_entry("buckets_used", buckets_used)?;
        map.serialize_entry("max_buckets", &settings.tcp_max_tw_buckets)?;
        map.serialize_entry("overflowed", &counters.overflows())?;
        map.serialize_entry("counters", counters)?;
        let rates = per_second.map(|rates| PerCounter(rates.0.map(|rate| rate.map(rounded))));
        map.serialize_entry("per_second", &rates)?;
        map.serialize_entry("sysctls", settings)?;
        map.serialize_entry("ports", ports)?;
        map.serialize_entry("destinations", destinations)?;
        map.serialize_entry("crowded_out", crowded_out)?;
        map.serialize_entry("advice", advice)?;
        map.serialize_entry("ports_bound_by", ports_bound_by)?;
        map.serialize_entry("address_uses", address_uses)?;
        map.serialize_entry("address_uses_crowded_out", address_uses_crowded_out)?;
        map.end()
    }
}

/// One digit behind the point, as other rates have it.
fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

impl Serialize for Advice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = self.place();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", self.id())?;
        map.serialize_entry("text", &self.to_string())?;
        map.serialize_entry("file", &place.map(|place| place.file.to_string_lossy()))?;
        map.serialize_entry("line", &place.map(|place| place.line))?;
        map.end()
    }
}

struct Peers<'a>(&'a [(Address, u64)]);

impl Serialize for Peers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Peer {
            raddr: IpAddr,
            count: u64,
            interface: Option<Interface>,
        }
        let peer = |(peer, count): &(Address, u64)| Peer {
            raddr: peer.ip(),
            count: *count,
            interface: peer.interface(),
        };
        serializer.collect_seq(self.0.iter().map(peer))
    }
}
