//! The minisockets of one network namespace, put together by destination while the kernel lists them.
//!
//! It has to be told in this order: who listens and what is bound, the minisockets, what is open.

use std::collections::HashMap;

use rustc_hash::FxHashSet;

use super::group::{Group, remember};
use crate::diagnosis::time_wait::ports::PortBudget;
use crate::model::time_wait::{CloserId, Destination};
use crate::{
    model::{
        endpoints::{Endpoint, Endpoints},
        state::State,
    },
    netlink::DiagSocket,
};

/// Destinations told apart in a namespace; minisockets of further ones are counted.
pub(crate) const MAX_DESTINATIONS: usize = 16_384;

/// So many destinations with a single minisocket each, all at one local port, are one service.
const FEWEST_CLIENTS: u32 = 3;

/// What the kernel listed of a namespace.
#[derive(Debug)]
pub(crate) struct Table {
    /// The local ports that connect() chooses from; `None` when they are not known.
    pub ports: Option<PortBudget>,
    /// Sockets in TIME_WAIT, whether or not they were asked for.
    pub time_wait: u64,
    /// Minisockets in FIN_WAIT2, whether or not they were asked for.
    pub fin_wait2: u64,
    /// Minisockets of destinations that there was no room for.
    pub crowded_out: u64,
    /// Where somebody listens, with the inode numbers of the listeners.
    listeners: HashMap<Endpoint, Vec<u32>>,
    groups: HashMap<Destination, Group>,
    /// The kernel's list is no snapshot: it may show a socket twice.
    seen: FxHashSet<u64>,
}

impl Table {
    /// Knows nothing yet but the ports.
    pub(crate) fn new(ports: Option<PortBudget>) -> Self {
        Self {
            ports,
            time_wait: 0,
            fin_wait2: 0,
            crowded_out: 0,
            listeners: HashMap::new(),
            groups: HashMap::new(),
            seen: FxHashSet::default(),
        }
    }

    /// Takes a socket that listens or is bound.
    pub(crate) fn bound(&mut self, socket: &DiagSocket) {
        if let Some(ports) = &mut self.ports {
            ports.bind(socket.local.port());
        }
        if socket.state == State::Listen as u8 {
            self.listeners.entry(socket.local).or_default().push(socket.inode);
        }
    }

    /// Takes a minisocket; `closer` is whoever was seen closing the socket that it was. One that is not
    /// wanted is counted, and no more.
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
        group.count_closer(closer);
        if let Destination::Incoming { .. } = key {
            group.count_peer(socket.remote.ip());
        }
    }

    /// All minisockets have been told. Connections at the port of a service that nobody listens at any
    /// more have each looked like one of their own until now.
    pub(crate) fn minisockets_told(&mut self) {
        self.seen = FxHashSet::default();
        let single = |(key, group): (&Destination, &Group)| match key {
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
                service.count_peer(remote.ip());
            }
        }
        for (key, group) in &mut self.groups {
            if let Destination::Incoming { local } = key {
                let listeners = local.listened_at().iter().find_map(|address| self.listeners.get(address));
                remember(&mut group.listeners, listeners.into_iter().flatten().copied());
            }
        }
    }

    /// Takes a connection that is open; only those at a known destination matter.
    pub(crate) fn open(&mut self, socket: &DiagSocket) {
        if socket.minisocket_left_ms.is_some() {
            return;
        }
        let key = self.destination(&Endpoints { local: socket.local, remote: socket.remote });
        let Some(group) = self.groups.get_mut(&key) else { return };
        if !self.seen.insert(socket.cookie) {
            return;
        }
        let is_chosen = self.ports.as_ref().is_some_and(|ports| ports.contains(socket.local.port()));
        group.open += 1;
        group.open_in_budget += u64::from(is_chosen);
        remember(&mut group.connections, [socket.inode]);
        // A peer that has stopped sending them is one that may not be counted on.
        if let Some(timestamps) = socket.timestamps.filter(|_| socket.state == State::Established as u8) {
            group.peer_timestamps = Some(group.peer_timestamps.unwrap_or(true) && timestamps);
        }
    }

    /// Whether there is no destination.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Where a connection belongs: to the service that it was made to, or to its peer.
    pub(crate) fn destination(&self, endpoints: &Endpoints) -> Destination {
        let Endpoints { local, remote } = *endpoints;
        let service = Destination::Incoming { local };
        let is_service = local.listened_at().iter().any(|address| self.listeners.contains_key(address))
            || self.groups.contains_key(&service);
        if is_service { service } else { Destination::Outgoing { local: local.ip(), remote } }
    }

    /// Whether something of this destination was listed.
    pub(crate) fn contains(&self, destination: &Destination) -> bool {
        self.groups.contains_key(destination)
    }

    /// The destinations, in no order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Destination, &Group)> {
        self.groups.iter()
    }
}

#[cfg(test)]
mod tests;
