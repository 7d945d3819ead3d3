//! Groups the sockets of a network namespace by destination while the kernel lists them. Pure.
//!
//! Feed it in this order: listening and bound sockets, minisockets, open connections, MPTCP connections.

use std::collections::HashMap;

use rustc_hash::FxHashSet;

use super::group::{DestinationGroup, remember};
use crate::{
    diagnosis::time_wait::ports::PortBudget,
    model::{
        endpoints::{Endpoint, Endpoints},
        state::State,
        time_wait::{CloserId, Destination},
    },
    netlink::DiagSocket,
};

/// Most destinations of a namespace with minisockets; those of further ones are only counted. As many have open
/// connections alone: of more than that, those with the fewest are left out.
pub(crate) const MAX_DESTINATIONS: usize = 16_384;

/// Most ports of which the holders of the sockets that have bound them are looked for.
const MAX_BOUND: usize = 65_536;

/// From this many destinations on with a single minisocket each, all on one local port, they are one service.
const FEWEST_CLIENTS: u32 = 3;

/// The listed sockets of a namespace, by destination.
#[derive(Debug)]
pub(crate) struct DestinationTable {
    /// The local ports that connect() chooses from; `None` when they are not known.
    pub ports: Option<PortBudget>,
    /// A destination without minisockets is listed from this share of its ports in use on, in percent.
    listed_percent: u64,
    /// Sockets in TIME_WAIT, whether or not they pass the filter.
    pub time_wait: u64,
    /// Minisockets in FIN_WAIT2, whether or not they pass the filter.
    pub fin_wait2: u64,
    /// Minisockets of destinations beyond the limit.
    pub crowded_out: u64,
    /// The inode numbers of listeners, by address.
    listeners: HashMap<Endpoint, Vec<u32>>,
    groups: HashMap<Destination, DestinationGroup>,
    /// Destinations with open connections alone.
    open_only: usize,
    /// Cookies seen: the kernel's listing is no snapshot and may show a socket twice.
    seen: FxHashSet<u64>,
    /// Inode numbers of sockets that have bound a port of the range.
    bound: Vec<u32>,
    /// The first paths of MPTCP connections: no process holds them, but the connections.
    subflows: HashMap<Endpoints, Destination>,
}

impl DestinationTable {
    pub(crate) fn new(ports: Option<PortBudget>, listed_percent: u64) -> Self {
        Self {
            ports,
            listed_percent,
            time_wait: 0,
            fin_wait2: 0,
            crowded_out: 0,
            listeners: HashMap::new(),
            groups: HashMap::new(),
            open_only: 0,
            seen: FxHashSet::default(),
            bound: Vec::new(),
            subflows: HashMap::new(),
        }
    }

    /// Adds a listening or bound socket.
    pub(crate) fn bound(&mut self, socket: &DiagSocket) {
        if let Some(ports) = &mut self.ports {
            ports.bind(socket.local.port());
            if ports.range.contains(&socket.local.port()) && socket.inode != 0 && self.bound.len() < MAX_BOUND
            {
                self.bound.push(socket.inode);
            }
        }
        if socket.state == State::Listen as u8 {
            self.listeners.entry(socket.local).or_default().push(socket.inode);
        }
    }

    /// Adds a minisocket; `closer` was seen closing the socket it was. One that is not wanted is only counted.
    pub(crate) fn minisocket(&mut self, socket: &DiagSocket, is_wanted: bool, closer: Option<CloserId>) {
        let Some(left) = socket.minisocket_left_ms else { return };
        if !self.seen.insert(socket.cookie) {
            return;
        }
        let is_fin_wait2 = socket.state == State::FinWait2 as u8;
        *(if is_fin_wait2 { &mut self.fin_wait2 } else { &mut self.time_wait }) += 1;
        if !is_wanted {
            return;
        }
        let key = self.destination(&Endpoints { local: socket.local, remote: socket.remote });
        if self.groups.len() >= MAX_DESTINATIONS && !self.groups.contains_key(&key) {
            self.crowded_out += 1;
            return;
        }
        let group = self.groups.entry(key).or_default();
        if group.minisockets() == 0 {
            group.first_port = socket.local.port();
        }
        let is_chosen = self.ports.as_ref().is_some_and(|ports| ports.contains(socket.local.port()));
        let all = if is_chosen { &mut group.chosen } else { &mut group.elsewhere };
        let of_its_state = if is_fin_wait2 { &mut all.fin_wait2 } else { &mut all.time_wait };
        of_its_state.push(left);
        group.count_closer(closer, (!is_fin_wait2).then_some(left));
        if let Destination::Incoming { .. } = key {
            group.count_peer(socket.remote.address());
        }
    }

    /// Ends the minisockets. Merges connections of a service without a listener, which so far each looked
    /// like a destination of its own.
    pub(crate) fn end_minisockets(&mut self) {
        self.seen = FxHashSet::default();
        let single = |(key, group): (&Destination, &DestinationGroup)| match key {
            Destination::Outgoing { local, remote } if group.minisockets() == 1 => {
                Some((Endpoint::new(*local, group.first_port), *remote, *key))
            }
            _ => None,
        };
        let singles: Vec<_> = self.groups.iter().filter_map(single).collect();
        let mut clients: HashMap<Endpoint, u32> = HashMap::new();
        for (local, ..) in &singles {
            *clients.entry(*local).or_default() += 1;
        }
        for (local, remote, key) in singles {
            let is_chosen = |port: u16| self.ports.as_ref().is_some_and(|ports| ports.range.contains(&port));
            let is_service = clients.get(&local).is_some_and(|count| *count >= FEWEST_CLIENTS)
                || (!is_chosen(local.port()) && is_chosen(remote.port()));
            if is_service && let Some(group) = self.groups.remove(&key) {
                let service = self.groups.entry(Destination::Incoming { local }).or_default();
                service.absorb(group);
                service.count_peer(remote.address());
            }
        }
        for (key, group) in &mut self.groups {
            if let Destination::Incoming { local } = key {
                let listeners = local.listened_at().iter().find_map(|address| self.listeners.get(address));
                remember(&mut group.listeners, listeners.into_iter().flatten().copied());
            }
        }
    }

    /// Adds an open connection. One that is not wanted counts where another one of its destination is; connections to a
    /// service count where it has minisockets: they take no port that connect() chooses.
    pub(crate) fn open(&mut self, socket: &DiagSocket, is_wanted: bool) {
        if socket.minisocket_left_ms.is_some() {
            return;
        }
        let endpoints = Endpoints { local: socket.local, remote: socket.remote };
        let key = self.destination(&endpoints);
        let is_new = !self.groups.contains_key(&key);
        if is_new && (!is_wanted || matches!(key, Destination::Incoming { .. })) {
            return;
        }
        if !self.seen.insert(socket.cookie) {
            return;
        }
        if is_new {
            self.make_room();
            self.open_only += 1;
        }
        let group = self.groups.entry(key).or_default();
        group.open += 1;
        let is_chosen = self.ports.as_ref().is_some_and(|ports| ports.contains(socket.local.port()));
        if is_chosen && let Destination::Outgoing { .. } = key {
            let state = State::from_number(socket.state).unwrap_or(State::Close);
            *group.open_in_budget.entry(state).or_default() += 1;
            if socket.is_mptcp_subflow {
                self.subflows.insert(endpoints, key);
            } else if socket.inode != 0 {
                group.on_ports.push(socket.inode);
            }
        }
        remember(&mut group.connections, [socket.inode]);
        // One connection without timestamps is enough to distrust the peer.
        if let Some(timestamps) = socket.timestamps.filter(|_| socket.state == State::Established as u8) {
            group.peer_timestamps = Some(group.peer_timestamps.unwrap_or(true) && timestamps);
        }
    }

    /// Makes room for another destination with open connections alone: those with the fewest go. One that takes a share
    /// of the ports has had many when there is no room any more, since the kernel lists sockets in no order.
    fn make_room(&mut self) {
        let mut few = 1;
        while self.open_only >= MAX_DESTINATIONS || (few > 1 && self.open_only > MAX_DESTINATIONS / 2) {
            self.groups.retain(|_, group| group.minisockets() > 0 || group.open > few);
            self.open_only = self.groups.values().filter(|group| group.minisockets() == 0).count();
            few *= 2;
        }
    }

    /// Whether paths of MPTCP connections take ports.
    pub(crate) fn has_subflows(&self) -> bool {
        !self.subflows.is_empty()
    }

    /// Adds an MPTCP connection, which a process holds in place of its first path.
    pub(crate) fn mptcp(&mut self, socket: &DiagSocket) {
        let endpoints = Endpoints { local: socket.local, remote: socket.remote };
        let group = self.subflows.remove(&endpoints).and_then(|key| self.groups.get_mut(&key));
        if let Some(group) = group.filter(|_| socket.inode != 0) {
            group.on_ports.push(socket.inode);
        }
    }

    /// Ends the open connections: destinations without minisockets, most of whose ports are free, are left out.
    pub(crate) fn end_open(&mut self) {
        self.seen = FxHashSet::default();
        let least = self.least_ports().unwrap_or(u64::MAX);
        self.groups.retain(|_, group| group.minisockets() > 0 || group.ports_used() >= least);
    }

    /// Whether so many sockets in the namespace can take the share of a destination's ports from which on it is listed.
    pub(crate) fn may_be_short_of_ports(&self, sockets: u64) -> bool {
        self.least_ports().is_some_and(|least| sockets >= least)
    }

    /// The ports in use from which on a destination is listed; `None` when the range is not known.
    fn least_ports(&self) -> Option<u64> {
        let usable = self.ports.as_ref().map(|ports| u64::from(ports.usable))?;
        Some((usable * self.listed_percent).div_ceil(100).max(1))
    }

    /// Whether no destination is worth listing.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Inode numbers of sockets that have bound ports of the range.
    pub(crate) fn bound_inodes(&self) -> &[u32] {
        &self.bound
    }

    /// The destination of a connection: a local service, or its peer.
    pub(crate) fn destination(&self, endpoints: &Endpoints) -> Destination {
        let Endpoints { local, remote } = *endpoints;
        let service = Destination::Incoming { local };
        let is_service = local.listened_at().iter().any(|address| self.listeners.contains_key(address))
            || self.groups.contains_key(&service);
        if is_service { service } else { Destination::Outgoing { local: local.ip(), remote } }
    }

    /// Whether the destination is listed.
    pub(crate) fn contains(&self, destination: &Destination) -> bool {
        self.groups.contains_key(destination)
    }

    /// The destinations, in no order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Destination, &DestinationGroup)> {
        self.groups.iter()
    }
}

#[cfg(test)]
mod tests;
