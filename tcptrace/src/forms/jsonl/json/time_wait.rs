//! The JSON form of the records about TIME_WAIT.

use std::net::IpAddr;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{NanosecondTime, Shown};
use crate::model::{
    advice::Advice,
    record::time_wait::{TimeWait, TimeWaitSummary},
    tcp_counters::{COUNTERS, PerCounter},
    time_wait::{Destination, FoundPorts},
};

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
        } = self;
        // A service with a single peer has an address on the other side too.
        let only_peer = || match peers[..] {
            [(peer, _)] if *more_peers == 0 => Some(peer),
            _ => None,
        };
        let (side, raddr, rport, lport) = match destination {
            Destination::Outgoing { remote, .. } => {
                ("outgoing", Some(remote.ip()), Some(remote.port()), None)
            }
            Destination::Incoming { local } => ("incoming", only_peer(), None, Some(local.port())),
        };
        let of_ports = |number: fn(&FoundPorts) -> u64| ports.as_ref().map(number);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "time_wait")?;
        map.serialize_entry("time", &Shown(NanosecondTime(time)))?;
        map.serialize_entry("netns", netns)?;
        map.serialize_entry("family", if destination.local().is_ipv4() { &4 } else { &6 })?;
        map.serialize_entry("laddr", &destination.local())?;
        map.serialize_entry("raddr", &raddr)?;
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
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "time_wait_summary")?;
        map.serialize_entry("time", &Shown(NanosecondTime(time)))?;
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
        map.end()
    }
}

/// One digit behind the point, as other rates have it.
fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

impl<T: Serialize> Serialize for PerCounter<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(COUNTERS.iter().zip(&self.0))
    }
}

impl Serialize for Advice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = self.place();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", self.id())?;
        map.serialize_entry("text", &Shown(self))?;
        map.serialize_entry("file", &place.map(|place| place.file.to_string_lossy()))?;
        map.serialize_entry("line", &place.map(|place| place.line))?;
        map.end()
    }
}

struct Peers<'a>(&'a [(IpAddr, u64)]);

impl Serialize for Peers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Peer {
            raddr: IpAddr,
            count: u64,
        }
        serializer.collect_seq(self.0.iter().map(|(raddr, count)| Peer { raddr: *raddr, count: *count }))
    }
}
