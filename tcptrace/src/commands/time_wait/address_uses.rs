//! Collects what has the local ports that were asked for, by address and role, while the kernel lists the sockets of a
//! network namespace. Pure; bounded.
//!
//! Feed it in the order of [`super::table`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    diagnosis::time_wait::address_in_use::{Connections, role},
    model::{
        endpoints::Endpoint, record::address_use::AddressRole, state::State, tcp_settings::TcpSettings,
        time_wait::CloserId,
    },
    netlink::DiagSocket,
};

/// Most addresses with such a port, by role.
const MAX_GROUPS: usize = 64;

/// Most sockets of a namespace of which the holders are looked for.
const MAX_INODES: usize = 65_536;

/// Most sockets of a group that are asked for their options.
const MAX_SAMPLES: usize = 8;

/// Most closers counted one by one.
const MAX_CLOSERS: usize = 1_024;

/// A socket that can be asked for its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub cookie: u64,
    pub inode: u32,
}

/// The sockets of one role at one address.
#[derive(Debug, Default)]
pub(crate) struct UseGroup {
    by_state: BTreeMap<State, u64>,
    pub minisockets: u64,
    /// Others that no process holds.
    pub orphans: u64,
    pub last_left_ms: Option<u32>,
    /// Inode numbers of its sockets.
    pub inodes: Vec<u32>,
    pub samples: Vec<Sample>,
    pub remote: Option<Endpoint>,
    pub uid: Option<u32>,
    pub is_v6_only: Option<bool>,
    /// Minisockets by closer.
    pub closers: FxHashMap<CloserId, u64>,
    connections: Connections,
}

impl UseGroup {
    pub(crate) fn count(&self) -> u64 {
        self.by_state.values().sum()
    }

    /// The sockets by state, the most frequent first.
    pub(crate) fn by_state(&self) -> Vec<(State, u64)> {
        let mut by_state: Vec<(State, u64)> =
            self.by_state.iter().map(|(state, count)| (*state, *count)).collect();
        by_state.sort_by_key(|(state, count)| (Reverse(*count), *state));
        by_state
    }
}

/// What has the ports that were asked for.
#[derive(Debug, Default)]
pub(crate) struct AddressUses {
    ports: BTreeSet<u16>,
    range: Option<(u16, u16)>,
    groups: BTreeMap<(Endpoint, AddressRole), UseGroup>,
    /// All listeners: a connection to one of them from here goes out.
    listeners: FxHashSet<Endpoint>,
    /// Cookies seen: the kernel's listing is no snapshot and may show a socket twice.
    seen: FxHashSet<u64>,
    inodes: usize,
    /// Sockets at further addresses.
    crowded_out: u64,
    has_subflows: bool,
    /// Whether one of them is that of a listener.
    has_listening_subflows: bool,
}

impl AddressUses {
    pub(crate) fn new(ports: impl Iterator<Item = u16>, settings: &TcpSettings) -> Self {
        Self { ports: ports.collect(), range: settings.ip_local_port_range, ..Self::default() }
    }

    /// Whether no port was asked for.
    pub(crate) fn is_idle(&self) -> bool {
        self.ports.is_empty()
    }

    /// Whether nothing has a port that was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Sockets with such a port at addresses that there was no room for.
    pub(crate) fn crowded_out(&self) -> u64 {
        self.crowded_out
    }

    /// The ports that were asked for.
    pub(crate) fn ports(&self) -> &BTreeSet<u16> {
        &self.ports
    }

    /// Adds a listening or bound socket.
    pub(crate) fn bound(&mut self, socket: &DiagSocket) {
        if self.is_idle() {
            return;
        }
        let is_listener = socket.state == State::Listen as u8;
        if is_listener {
            self.listeners.insert(socket.local);
        }
        let role = if is_listener { AddressRole::Listener } else { AddressRole::Bound };
        if let Some(group) = self.group(socket, role) {
            group.is_v6_only = group.is_v6_only.or(socket.is_v6_only);
        }
    }

    /// Adds a minisocket; `closer` was seen closing the socket it was.
    pub(crate) fn minisocket(&mut self, socket: &DiagSocket, closer: Option<CloserId>) {
        let Some(left) = socket.minisocket_left_ms else { return };
        let Some(group) = self.connection(socket) else { return };
        group.minisockets += 1;
        group.last_left_ms = group.last_left_ms.max(Some(left));
        if let Some(closer) = closer
            && (group.closers.len() < MAX_CLOSERS || group.closers.contains_key(&closer))
        {
            *group.closers.entry(closer).or_default() += 1;
        }
    }

    /// Adds an open connection.
    pub(crate) fn open(&mut self, socket: &DiagSocket) {
        // One that nobody has accepted yet goes with its listener; a request for one has no port of its own.
        let state = State::from_number(socket.state);
        let is_open = matches!(state, Some(State::Established | State::CloseWait | State::SynRecv));
        let is_queued = is_open && socket.inode == 0 && !socket.is_mptcp_subflow;
        if socket.minisocket_left_ms.is_none()
            && !is_queued
            && let Some(group) = self.connection(socket)
        {
            group.connections.count_side(socket.side);
        }
    }

    /// Whether MPTCP connections or listeners are among them, which are held in place of what was listed.
    pub(crate) fn has_subflows(&self) -> bool {
        self.has_subflows
    }

    /// Whether MPTCP listeners are.
    pub(crate) fn has_listening_subflows(&self) -> bool {
        self.has_listening_subflows
    }

    /// Adds an MPTCP socket, which a process holds in place of its first path.
    pub(crate) fn mptcp(&mut self, socket: &DiagSocket) {
        let is_listener = socket.state == State::Listen as u8;
        let role = if is_listener { AddressRole::Listener } else { AddressRole::Connection };
        let Self { groups, inodes, .. } = self;
        if let Some(group) = groups.get_mut(&(socket.local, role)) {
            remember(group, inodes, socket);
        }
    }

    /// The groups, by address, with the role that the whole shows.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (Endpoint, AddressRole, &UseGroup)> {
        self.groups.iter().map(|((local, listed_as), group)| {
            let role = match listed_as {
                AddressRole::Connection => {
                    role(group.connections, self.is_served(*local), local.port(), self.range)
                }
                other => *other,
            };
            (*local, role, group)
        })
    }

    /// Whether somebody listens where connections to this address arrive.
    fn is_served(&self, local: Endpoint) -> bool {
        local.listened_at().iter().any(|at| self.listeners.contains(at))
    }

    fn connection(&mut self, socket: &DiagSocket) -> Option<&mut UseGroup> {
        if !self.ports.contains(&socket.local.port()) {
            return None;
        }
        let goes_out = self.is_served(socket.remote);
        let is_in_range =
            self.range.is_some_and(|(first, last)| (first..=last).contains(&socket.remote.port()));
        let group = self.group(socket, AddressRole::Connection)?;
        group.connections.count(!goes_out && is_in_range);
        group.remote.get_or_insert(socket.remote);
        Some(group)
    }

    fn group(&mut self, socket: &DiagSocket, role: AddressRole) -> Option<&mut UseGroup> {
        if !self.ports.contains(&socket.local.port()) || !self.seen.insert(socket.cookie) {
            return None;
        }
        let key = (socket.local, role);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            self.crowded_out += 1;
            return None;
        }
        self.has_subflows |= socket.is_mptcp_subflow;
        self.has_listening_subflows |= socket.is_mptcp_subflow && role == AddressRole::Listener;
        let Self { groups, inodes, .. } = self;
        let group = groups.entry(key).or_default();
        *group.by_state.entry(State::from_number(socket.state).unwrap_or(State::Close)).or_default() += 1;
        if socket.minisocket_left_ms.is_none() {
            group.uid.get_or_insert(socket.uid);
            group.orphans += u64::from(socket.inode == 0 && !socket.is_mptcp_subflow);
            remember(group, inodes, socket);
        }
        Some(group)
    }
}

/// Keeps what leads to the holders of a socket.
fn remember(group: &mut UseGroup, inodes: &mut usize, socket: &DiagSocket) {
    let DiagSocket { cookie, inode, .. } = *socket;
    if inode == 0 || *inodes >= MAX_INODES {
        return;
    }
    *inodes += 1;
    group.inodes.push(inode);
    if group.samples.len() < MAX_SAMPLES {
        group.samples.push(Sample { cookie, inode });
    }
}

#[cfg(test)]
mod tests;
