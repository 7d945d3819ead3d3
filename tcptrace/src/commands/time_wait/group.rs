//! The sockets of one destination, summed up while the kernel lists them. Takes four bytes per socket; the maps are
//! bounded.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use rustc_hash::FxHashMap;

use crate::{
    diagnosis::{
        time_wait::{
            forecast::{DestinationPorts, LATENESS_MS, TIME_WAIT_MS},
            reuse::Reuse,
        },
        trend::Arrivals,
    },
    model::{endpoints::Address, state::State, time_wait::CloserId},
};

/// Most peers counted one by one: a remote host must not be able to fill memory.
const MAX_PEERS: usize = 1024;

/// Most closers counted one by one.
const MAX_CLOSERS: usize = 1024;

/// Most inode numbers kept, to look up the holders.
const MAX_INODES: usize = 8;

/// The time that the rate of new minisockets covers: long enough for a few, short enough to be current.
const LATELY_MS: u32 = 5_000;

/// Who closed minisockets that are younger than this closes at present.
const CLOSED_LATELY_MS: u32 = 10_000;

/// Fewer new minisockets do not make a rate.
const FEWEST: u64 = 5;

/// The milliseconds that each minisocket has left, by state.
#[derive(Clone, Debug, Default)]
pub(super) struct RemainingMs {
    pub(super) time_wait: Vec<u32>,
    pub(super) fin_wait2: Vec<u32>,
}

/// The sockets of one destination.
#[derive(Clone, Debug, Default)]
pub(crate) struct DestinationGroup {
    /// Minisockets on a local port that connect() chooses from.
    pub(super) chosen: RemainingMs,
    /// Minisockets on other ports: of services, or chosen by the application.
    pub(super) elsewhere: RemainingMs,
    /// Open connections, in any other state.
    pub open: u64,
    /// Of these, those on a port that connect() chooses from, by state.
    pub(super) open_in_budget: BTreeMap<State, u64>,
    /// The inode numbers of those, where they have one.
    pub(super) on_ports: Vec<u32>,
    /// Incoming connections by peer.
    pub peers: HashMap<Address, u64>,
    /// Incoming connections of other peers.
    pub more_peers: u64,
    /// Minisockets by closer.
    pub closers: FxHashMap<CloserId, u64>,
    /// The same of those that entered TIME_WAIT lately.
    pub closers_lately: FxHashMap<CloserId, u64>,
    /// Minisockets without a known closer.
    pub unseen: u64,
    /// Inode numbers of some open connections.
    pub connections: Vec<u32>,
    /// Inode numbers of its listeners.
    pub listeners: Vec<u32>,
    /// Whether the peer sends timestamps, as seen on open connections.
    pub peer_timestamps: Option<bool>,
    /// The local port of the first minisocket.
    pub(super) first_port: u16,
}

impl DestinationGroup {
    /// Sockets in TIME_WAIT.
    pub(crate) fn time_wait(&self) -> u64 {
        (self.chosen.time_wait.len() + self.elsewhere.time_wait.len()) as u64
    }

    /// Minisockets in FIN_WAIT2: the peer has not closed yet.
    pub(crate) fn fin_wait2(&self) -> u64 {
        (self.chosen.fin_wait2.len() + self.elsewhere.fin_wait2.len()) as u64
    }

    pub(crate) fn minisockets(&self) -> u64 {
        self.time_wait() + self.fin_wait2()
    }

    /// Milliseconds until the oldest socket in TIME_WAIT is gone.
    pub(crate) fn oldest_left_ms(&self) -> Option<u32> {
        self.all_time_wait().min()
    }

    /// Milliseconds until the last minisocket is gone.
    pub(crate) fn last_left_ms(&self) -> Option<u32> {
        self.all_time_wait().chain(self.all_fin_wait2()).max()
    }

    /// Whether the minisockets came to an end: for twice as long as their longest pause, none has come.
    pub(crate) fn is_over(&self, fin_timeout_ms: u32) -> bool {
        let ages: Vec<u32> = self.ages_ms(fin_timeout_ms).collect();
        !ages.is_empty() && Arrivals::of(ages, TIME_WAIT_MS).per_second <= 0.0
    }

    /// For how long each minisocket has been in its state, from the time that it has left.
    fn ages_ms(&self, fin_timeout_ms: u32) -> impl Iterator<Item = u32> {
        let time_wait = self.all_time_wait().map(|left| TIME_WAIT_MS.saturating_sub(left));
        time_wait.chain(self.all_fin_wait2().map(move |left| fin_timeout_ms.saturating_sub(left)))
    }

    fn all_time_wait(&self) -> impl Iterator<Item = u32> {
        self.chosen.time_wait.iter().chain(&self.elsewhere.time_wait).copied()
    }

    fn all_fin_wait2(&self) -> impl Iterator<Item = u32> {
        self.chosen.fin_wait2.iter().chain(&self.elsewhere.fin_wait2).copied()
    }

    pub(super) fn count_peer(&mut self, peer: Address) {
        if self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer) {
            *self.peers.entry(peer).or_default() += 1;
        } else {
            self.more_peers += 1;
        }
    }

    /// Counts a minisocket by its closer; one in TIME_WAIT has so much of the minute left.
    pub(super) fn count_closer(&mut self, closer: Option<CloserId>, time_wait_left_ms: Option<u32>) {
        let known =
            closer.filter(|closer| self.closers.len() < MAX_CLOSERS || self.closers.contains_key(closer));
        let Some(closer) = known else {
            self.unseen += 1;
            return;
        };
        *self.closers.entry(closer).or_default() += 1;
        if time_wait_left_ms.is_some_and(|left| left + CLOSED_LATELY_MS >= TIME_WAIT_MS) {
            *self.closers_lately.entry(closer).or_default() += 1;
        }
    }

    /// Inode numbers of its sockets that a process may hold: open connections first.
    pub(crate) fn inodes(&self) -> impl Iterator<Item = u32> {
        self.connections.iter().chain(&self.listeners).copied()
    }

    /// Merges a group that was counted as a destination of its own into this service.
    pub(super) fn absorb(&mut self, other: Self) {
        for RemainingMs { time_wait, fin_wait2 } in [other.chosen, other.elsewhere] {
            self.elsewhere.time_wait.extend(time_wait);
            self.elsewhere.fin_wait2.extend(fin_wait2);
        }
        for (closer, count) in other.closers {
            (0..count).for_each(|_| self.count_closer(Some(closer), None));
        }
        for (closer, count) in other.closers_lately {
            if self.closers.contains_key(&closer) {
                *self.closers_lately.entry(closer).or_default() += count;
            }
        }
        self.unseen += other.unseen;
    }

    /// The recent new minisockets, from the time that each has left. Misses ports that were taken over since. `None` if
    /// there are too few.
    pub(crate) fn entered(&self, fin_timeout_ms: u32, reuse: Reuse) -> Option<Arrivals> {
        // A port that can be taken over after a second is certain to exist for only a second.
        let window = match reuse {
            Reuse::After(delay) => LATELY_MS.min(delay.max(100)),
            _ => LATELY_MS,
        };
        let ages = || self.ages_ms(fin_timeout_ms);
        // If the first one is younger than the window, the window begins there.
        let window = window.min(ages().max()?).max(100);
        let lately: Vec<u32> = ages().filter(|age| *age <= window).collect();
        (lately.len() as u64 >= FEWEST).then(|| Arrivals::of(lately, window))
    }

    /// The forecast's input: the local ports of the destination, `total` in all.
    pub(crate) fn ports(&self, total: u64, reuse: Reuse, fin_timeout_ms: u32) -> DestinationPorts {
        let RemainingMs { time_wait, fin_wait2 } = &self.chosen;
        if let Reuse::After(delay) = reuse {
            // connect() may take ports that have been in TIME_WAIT for longer than that.
            let until = |left: &u32| (left + delay).checked_sub(TIME_WAIT_MS).filter(|left| *left > 0);
            let held = self.ports_open() + fin_wait2.len() as u64;
            let leaving_ms = time_wait.iter().filter_map(until).collect();
            return DestinationPorts { total, held, leaving_ms, lifetime_ms: delay };
        }
        let late = |left: &u32| left.saturating_add(LATENESS_MS);
        // If peers do not close, FIN_WAIT2 keeps the ports.
        let is_unanswered = fin_wait2.len() > time_wait.len();
        DestinationPorts {
            total,
            held: self.ports_open(),
            leaving_ms: time_wait.iter().chain(fin_wait2).map(late).collect(),
            lifetime_ms: late(&if is_unanswered { fin_timeout_ms.min(TIME_WAIT_MS) } else { TIME_WAIT_MS }),
        }
    }

    /// Ports that connect() chooses from and that are in use, whether or not they can be taken over.
    pub(crate) fn ports_used(&self) -> u64 {
        self.ports_open() + (self.chosen.time_wait.len() + self.chosen.fin_wait2.len()) as u64
    }

    /// Of these, the ones of open connections: no timer frees them.
    pub(crate) fn ports_open(&self) -> u64 {
        self.open_in_budget.values().sum()
    }

    /// The same ports by the state of their sockets, the most frequent first.
    pub(crate) fn ports_by_state(&self) -> Vec<(State, u64)> {
        let mut by_state = self.open_in_budget.clone();
        let RemainingMs { time_wait, fin_wait2 } = &self.chosen;
        for (state, minisockets) in [(State::TimeWait, time_wait), (State::FinWait2, fin_wait2)] {
            *by_state.entry(state).or_default() += minisockets.len() as u64;
        }
        let mut by_state: Vec<(State, u64)> = by_state.into_iter().filter(|(_, count)| *count > 0).collect();
        by_state.sort_by_key(|(state, count)| (Reverse(*count), *state));
        by_state
    }

    /// Inode numbers of the open connections on these ports.
    pub(crate) fn on_ports(&self) -> &[u32] {
        &self.on_ports
    }
}

/// Adds inode numbers while there is room; ignores 0.
pub(super) fn remember(inodes: &mut Vec<u32>, more: impl IntoIterator<Item = u32>) {
    for inode in more {
        if inode != 0 && inodes.len() < MAX_INODES && !inodes.contains(&inode) {
            inodes.push(inode);
        }
    }
}
