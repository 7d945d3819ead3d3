//! Assembles the records of a look: joins the tables of the namespaces with the closers, the rates and the
//! advice. Pure.

use std::{cmp::Reverse, collections::HashMap};

use rustc_hash::FxHashMap;

use super::{
    address_report::address_uses,
    closers::Closers,
    closings::Closings,
    group::DestinationGroup,
    look::{Look, NamespaceLook},
    owner_counts::{self, MOST_ONE_BY_ONE},
    socket_options::SocketOptions,
};
use crate::{
    diagnosis::{
        time_wait::{
            address_in_use::{self, BindFacts},
            prose::named::NamedProcess,
            reuse::Reuse,
            rules::{self, FoundDestination, TimeWaitFacts},
        },
        trend::{Arrivals, Level},
    },
    host::clock::WallClock,
    model::{
        advice::Closer,
        criteria::Criteria,
        endpoints::Address,
        kernel_version::KernelVersion,
        owner::Owner,
        owner_count::OwnerCount,
        record::time_wait::{LocalPorts, TimeWait, TimeWaitSummary},
        sysctl_setting::Setting,
        tcp_counters::TcpCounters,
        time_wait::{Destination, FoundPorts},
    },
};

/// Most peers listed for a service.
const PEERS_LISTED: usize = 16;

/// What is known besides the look itself.
pub(crate) struct Knowledge<'a> {
    pub kernel: Option<KernelVersion>,
    /// Lines in files that set something; they apply to the namespace of this process.
    pub files: &'a [Setting],
    pub criteria: &'a Criteria,
    /// `None` without tracing.
    pub closers: Option<&'a Closers>,
    /// Recent closings per second.
    pub rates: Rates,
    /// The holders of open connections, of listeners and of bound sockets, by inode number; `None` where nobody looked.
    pub holders: Option<FxHashMap<u32, Vec<Owner>>>,
    /// What sockets that have a port that was asked for said of their options, by inode number.
    pub options: &'a FxHashMap<u32, SocketOptions>,
    /// The ports that open connections to each destination hold, over the looks so far.
    pub held: &'a HeldPorts,
    /// The counters of each namespace at the previous look, and its time.
    pub earlier: &'a FxHashMap<u32, (u64, TcpCounters)>,
}

/// Ports that open connections hold over time, by network namespace and destination.
pub(crate) type HeldPorts = HashMap<(u32, Destination), Level>;

#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// How many milliseconds ago each was.
    ages_ms: HashMap<(u32, Destination), Vec<u32>>,
    /// The time they cover in milliseconds; `None` without tracing, or if it is too short.
    over_ms: Option<u32>,
}

impl Rates {
    /// Assigns recent closings to the destinations of a look.
    pub(crate) fn of(closings: &mut Closings, look: &Look, now_ns: u64) -> Self {
        let Some((over_ns, lately)) = closings.lately(now_ns) else { return Self::default() };
        let milliseconds = |ns: u64| u32::try_from(ns / 1_000_000).unwrap_or(u32::MAX);
        let mut ages_ms: HashMap<_, Vec<u32>> = HashMap::new();
        for closing in lately {
            // If this kernel does not report the namespace, it is one with such a destination.
            let is_in = |namespace: &&NamespaceLook| match closing.netns {
                Some(netns) => netns == namespace.netns,
                None => namespace.table.contains(&namespace.table.destination(&closing.endpoints)),
            };
            if let Some(namespace) = look.namespaces.iter().find(is_in) {
                let key = (namespace.netns, namespace.table.destination(&closing.endpoints));
                let age_ms = milliseconds(now_ns.saturating_sub(closing.ktime_ns));
                ages_ms.entry(key).or_default().push(age_ms);
            }
        }
        Self { ages_ms, over_ms: Some(milliseconds(over_ns)) }
    }

    fn of_destination(&self, netns: u32, destination: &Destination) -> Option<Arrivals> {
        let ages_ms = self.ages_ms.get(&(netns, *destination)).cloned().unwrap_or_default();
        self.over_ms.map(|over_ms| Arrivals::of(ages_ms, over_ms))
    }
}

/// The records of a namespace: its summary and its destinations, largest first.
pub(crate) fn namespace(
    look: &NamespaceLook,
    knowledge: &Knowledge<'_>,
    clock: WallClock,
) -> (TimeWaitSummary, Vec<TimeWait>) {
    let mut destinations: Vec<(TimeWait, Present)> = look
        .table
        .groups()
        .map(|(destination, group)| self::destination(look, *destination, group, knowledge, clock))
        .filter(|(record, _)| has_wanted_owner(record, knowledge.criteria))
        .collect();
    destinations.sort_by_key(|(record, _)| (Reverse(record.count + record.fin_wait2), record.destination));
    let found: Vec<FoundDestination> = destinations.iter().map(found).collect();
    let destinations: Vec<TimeWait> = destinations.into_iter().map(|(record, _)| record).collect();
    let files = if look.is_own { knowledge.files } else { &[] };
    let earlier = knowledge.earlier.get(&look.netns);
    let per_second = earlier
        .map(|(at_ns, before)| look.counters.rates_since(before, look.asked_ns.saturating_sub(*at_ns)));
    let (_, bound_by) = held_by(look.table.bound_inodes(), knowledge);
    let facts = TimeWaitFacts {
        kernel: knowledge.kernel,
        settings: &look.settings,
        files,
        ports: look.table.ports.as_ref(),
        bound_by: bound_by.first().map(named),
        buckets_used: look.minisockets,
        listed: look.table.time_wait + look.table.fin_wait2,
        overflowed: look.counters.overflows(),
        overflows_per_second: per_second.and_then(|rates| rates.overflows()),
    };
    let uses = address_uses(&look.uses, knowledge.holders.as_ref(), knowledge.options, knowledge.closers);
    let asked: Vec<u16> = look.uses.ports().iter().copied().collect();
    let mut advice = address_in_use::advice(&BindFacts {
        ports: &asked,
        uses: uses.as_deref().unwrap_or_default(),
        settings: &look.settings,
        kernel: knowledge.kernel,
        place: facts.place("ip_local_reserved_ports"),
    });
    advice.extend(rules::advice(&facts, &found));
    let summary = TimeWaitSummary {
        time: clock.at(look.asked_ns),
        netns: look.netns,
        count: look.table.time_wait,
        fin_wait2: look.table.fin_wait2,
        buckets_used: look.minisockets,
        counters: look.counters,
        per_second,
        settings: look.settings.clone(),
        ports: look.table.ports.as_ref().map(|ports| LocalPorts {
            first: *ports.range.start(),
            last: *ports.range.end(),
            reserved: ports.reserved,
            bound: ports.bound,
            usable: ports.usable,
        }),
        destinations: destinations.len() as u64,
        crowded_out: look.table.crowded_out,
        advice,
        ports_bound_by: bound_by,
        address_uses: uses,
        address_uses_crowded_out: look.uses.crowded_out(),
    };
    (summary, destinations)
}

fn has_wanted_owner(record: &TimeWait, criteria: &Criteria) -> bool {
    let counted = record.closed_first_by.iter().chain(&record.ports_held_by);
    let counted = counted.map(|counted| counted.owner.clone());
    let known: Vec<Owner> = counted.chain(record.candidates.iter().cloned()).collect();
    criteria.admits_owners(&known)
}

fn destination(
    look: &NamespaceLook,
    destination: Destination,
    group: &DestinationGroup,
    knowledge: &Knowledge<'_>,
    clock: WallClock,
) -> (TimeWait, Present) {
    let fin_timeout_ms = look.settings.tcp_fin_timeout.unwrap_or_default().saturating_mul(1_000);
    let remote = match destination {
        Destination::Outgoing { remote, .. } => Some(remote.ip()),
        Destination::Incoming { .. } => None,
    };
    let reuse = remote.map_or(Reuse::Off, |remote| {
        Reuse::of(&look.settings, destination.local(), remote, group.peer_timestamps)
    });
    let traced = knowledge.rates.of_destination(look.netns, &destination);
    let entered = group.entered(fin_timeout_ms, reuse);
    // A burst is no rate that goes on.
    let going_on =
        traced.or(entered).filter(|arrivals| arrivals.is_trend).map(|arrivals| arrivals.per_second);
    let held_per_second =
        knowledge.held.get(&(look.netns, destination)).and_then(|held| held.rise_per_second(look.asked_ns));
    let ports = look.table.ports.as_ref().filter(|_| remote.is_some()).map(|budget| {
        let mut ports = group.ports(u64::from(budget.usable), reuse, fin_timeout_ms);
        let used = group.ports_used();
        FoundPorts {
            used,
            reusable: (reuse != Reuse::PeerUnknown).then(|| used.saturating_sub(ports.used())),
            total: ports.total,
            most_per_second: ports.most_per_second(),
            dry_in_ns: ports.dry_in_ns(going_on.unwrap_or_default(), held_per_second.unwrap_or_default()),
        }
    });
    let mut peers: Vec<(Address, u64)> = group.peers.iter().map(|(peer, count)| (*peer, *count)).collect();
    peers.sort_by_key(|(peer, count)| (Reverse(*count), *peer));
    let more_peers = group.more_peers + peers.iter().skip(PEERS_LISTED).map(|(_, count)| count).sum::<u64>();
    peers.truncate(PEERS_LISTED);
    let has_ports = ports.is_some();
    let (held, ports_held_by) = held_by(group.on_ports(), knowledge);
    let is_guessed = knowledge.closers.is_none() && group.minisockets() > 0;
    let guessed = knowledge.holders.as_ref().filter(|_| is_guessed);
    let closed_first_by: Vec<OwnerCount> =
        knowledge.closers.map(|closers| owner_counts::closed_by(&group.closers, closers)).unwrap_or_default();
    let is_quiet = traced.is_none_or(|traced| traced.per_second <= 0.0);
    let present = Present {
        is_over: is_quiet && group.is_over(fin_timeout_ms),
        closer: knowledge.closers.and_then(|closers| closes_now(group, closers, &closed_first_by)),
    };
    let record = TimeWait {
        time: clock.at(look.asked_ns),
        netns: look.netns,
        destination,
        count: group.time_wait(),
        fin_wait2: group.fin_wait2(),
        open: group.open,
        ports,
        per_second: traced.map(|arrivals| arrivals.per_second),
        entered_per_second: entered.map(|arrivals| arrivals.per_second),
        oldest_left_ns: group.oldest_left_ms().map(|left| u64::from(left) * 1_000_000),
        closed_first_by,
        closed_first_unseen: knowledge.closers.map(|_| group.unseen),
        candidates: guessed.map(|holders| candidates(group, holders)).unwrap_or_default(),
        peers,
        more_peers,
        ports_by_state: has_ports.then(|| group.ports_by_state()),
        ports_held: held.filter(|_| has_ports),
        ports_held_by,
        ports_held_per_second: held_per_second,
        last_left_ns: group.last_left_ms().map(|left| u64::from(left) * 1_000_000),
    };
    (record, present)
}

/// What is known of a destination's present, besides its record.
struct Present {
    /// Whether no minisockets come any more.
    is_over: bool,
    /// Who closes most at present, if seen.
    closer: Option<Closer>,
}

/// Who closed most of the latest minisockets, with all of its own.
fn closes_now(group: &DestinationGroup, closers: &Closers, all: &[OwnerCount]) -> Option<Closer> {
    let lately = owner_counts::closed_by(&group.closers_lately, closers);
    let first = lately.first().or(all.first())?;
    let is_same = |counted: &&OwnerCount| counted.owner.process.pid == first.owner.process.pid;
    Some(named(all.iter().find(is_same).unwrap_or(first)))
}

/// Who holds these sockets, and how many of them anybody holds; `None` where nobody looked.
fn held_by(inodes: &[u32], knowledge: &Knowledge<'_>) -> (Option<u64>, Vec<OwnerCount>) {
    let counted = knowledge.holders.as_ref().map(|holders| owner_counts::held_by(inodes, holders));
    counted.map_or((None, Vec::new()), |(held, by)| (Some(held), by))
}

/// A process, or several of one name, as advice names them.
fn named(counted: &OwnerCount) -> Closer {
    Closer { name: NamedProcess(counted).to_string(), count: counted.count }
}

/// Ports that are taken a second at present: for TIME_WAIT, and for connections that stay.
fn per_second(record: &TimeWait) -> Option<f64> {
    let closed = record.per_second.or(record.entered_per_second);
    match record.ports_held_per_second {
        Some(held) => Some(closed.unwrap_or_default() + held),
        None => closed,
    }
}

fn found((record, present): &(TimeWait, Present)) -> FoundDestination {
    FoundDestination {
        destination: record.destination,
        time_wait: record.count,
        fin_wait2: record.fin_wait2,
        open: record.open,
        per_second: per_second(record),
        ports: record.ports,
        is_over: present.is_over,
        last_left_ns: record.last_left_ns.unwrap_or_default(),
        who: present.closer.clone(),
        by_state: record.ports_by_state.clone().unwrap_or_default(),
        holder: record.ports_held_by.first().map(named),
        other_holders: record.ports_held_by.iter().skip(1).map(|counted| counted.processes).sum(),
    }
}

/// Each process once, with all its descriptors. Open connections take precedence over a listener.
fn candidates(group: &DestinationGroup, by_inode: &FxHashMap<u32, Vec<Owner>>) -> Vec<Owner> {
    let mut candidates: Vec<Owner> = Vec::new();
    for owner in group.inodes().filter_map(|inode| by_inode.get(&inode)).flatten() {
        let is_same = |known: &&mut Owner| known.process.pid == owner.process.pid;
        if let Some(known) = candidates.iter_mut().find(is_same) {
            if known.evidence == owner.evidence {
                known.fds.extend(&owner.fds);
            }
        } else if candidates.len() < MOST_ONE_BY_ONE {
            candidates.push(owner.clone());
        }
    }
    candidates
}
