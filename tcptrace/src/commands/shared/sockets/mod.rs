//! The sockets that are stuck now, in CLOSE_WAIT or with a connection that is over: since when, and which of them are
//! due to be looked at.
//!
//! Pure: takes transitions, what the kernel listed at start, and the time as arguments. Bounded: what
//! does not fit is counted. Knows nothing of processes.

pub(crate) mod entry;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use self::entry::{Entry, GroupId, Phase};
use crate::model::{
    close_wait::{Due, Preexisting, Since, Stuck},
    ended::EndedHow,
    endpoints::Endpoints,
    socket::{Identity, Socket, SocketKey},
    state::State,
    transition::Transition,
};

/// What to do with a socket after it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// It was reported.
    Reported(GroupId),
    /// It is no leak now; look again at this time (CLOCK_MONOTONIC, nanoseconds).
    LookAgain(u64),
    /// It is nobody's business: not looked at again.
    Ignored,
    /// It was found to be gone, though nobody saw it leave.
    Gone,
}

/// A socket that left CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    pub socket: Socket,
    /// Since when it had been in CLOSE_WAIT.
    pub since: Since,
    /// What it was reported with, if it was.
    pub group_id: Option<GroupId>,
}

/// The table of stuck sockets.
#[derive(Debug)]
pub struct CloseWaitTable {
    identity: Identity,
    threshold_ns: u64,
    limit: usize,
    entries: IndexMap<SocketKey, Entry, FxBuildHasher>,
    /// Sockets not looked at yet, by the time when they are due.
    waiting: BTreeSet<(u64, SocketKey)>,
    /// Sockets that left before the preexisting ones were listed, so that the list does not bring them back;
    /// `None` once that list is complete.
    left_early: Option<FxHashSet<SocketKey>>,
    /// Sockets by address, where transitions and preexisting sockets cannot be joined by cookie; else empty.
    by_address: FxHashMap<Endpoints, SocketKey>,
    /// Sockets whose connection is over.
    over: usize,
    evicted: u64,
}

impl CloseWaitTable {
    /// An empty table of at most `limit` sockets, each due after `threshold_ns` in CLOSE_WAIT.
    #[must_use]
    pub fn new(identity: Identity, threshold_ns: u64, limit: usize) -> Self {
        Self {
            identity,
            threshold_ns,
            limit,
            entries: IndexMap::default(),
            waiting: BTreeSet::new(),
            left_early: Some(FxHashSet::default()),
            by_address: FxHashMap::default(),
            over: 0,
            evicted: 0,
        }
    }

    /// Sockets in CLOSE_WAIT now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.over
    }

    /// Whether no socket is in CLOSE_WAIT.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sockets that were not taken because the table was full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Sockets that were reported because their connection is over.
    #[must_use]
    pub fn reported_over(&self) -> usize {
        let is_reported = |entry: &&Entry| entry.is_over() && matches!(entry.phase(), Phase::Reported(_));
        self.entries.values().filter(is_reported).count()
    }

    /// Takes the sockets that the descriptor tables hold though their connections are over: adds those that nobody saw
    /// coming, and removes those that were reported and are closed by now.
    pub fn update_over(&mut self, held: &[Preexisting]) -> Vec<Departure> {
        let cookies: FxHashSet<u64> = held.iter().filter_map(|held| held.socket.cookie).collect();
        let is_closed = |entry: &Entry| {
            entry.is_over()
                && matches!(entry.phase(), Phase::Reported(_))
                && entry.socket().cookie.is_some_and(|cookie| !cookies.contains(&cookie))
        };
        let closed: Vec<SocketKey> =
            self.entries.iter().filter(|(_, entry)| is_closed(entry)).map(|(key, _)| *key).collect();
        let departed = closed.into_iter().filter_map(|key| self.remove(key));
        let departed = departed.map(|entry| departure(&entry)).collect();
        for over in held {
            self.add_preexisting(over);
        }
        departed
    }

    /// Sockets that were reported and are still stuck, each with its group.
    pub fn reported(&self) -> impl Iterator<Item = (Socket, Since, GroupId)> + '_ {
        self.entries.iter().filter_map(|(_, entry)| match entry.phase() {
            Phase::Reported(group_id) => Some((entry.socket(), entry.since(), group_id)),
            Phase::Waiting(_) | Phase::BeingLookedAt | Phase::Ignored => None,
        })
    }

    /// Takes a transition; returns the socket if it left CLOSE_WAIT by it.
    pub fn observe(&mut self, transition: &Transition) -> Option<Departure> {
        match (transition.old_state, transition.new_state) {
            (_, State::CloseWait) => {
                self.enter(transition, Stuck::InCloseWait);
                None
            }
            (old, new @ (State::Close | State::LastAck))
                if transition.cause.is_some_and(|cause| cause.is_over) =>
            {
                let left = if old == State::CloseWait { self.leave(transition) } else { None };
                let how = match new {
                    State::LastAck => Some(EndedHow::ShutDown),
                    _ => transition.cause.and_then(|cause| EndedHow::of_error(cause.error)),
                };
                self.enter(transition, Stuck::Over(how));
                if let Some(group_id) = left.and_then(|left| left.group_id)
                    && let Some(entry) = self.entries.get_mut(&transition.key)
                {
                    entry.set_reported_before(group_id);
                }
                left
            }
            (State::CloseWait, _) => self.leave(transition),
            _ => None,
        }
    }

    fn enter(&mut self, transition: &Transition, stuck: Stuck) {
        // The same as a preexisting socket (its entry happened while the kernel listed it), or another one at
        // the same address whose end was lost: either way the older entry is void.
        if let Some(known) = self.preexisting_of(transition) {
            self.remove(known);
        }
        self.remove(transition.key);
        let since = Since::exactly(transition.ktime_ns);
        let entry = Entry::new(&transition.socket, stuck, since, Some(transition.kernel_socket));
        self.insert(transition.key, entry);
    }

    fn leave(&mut self, transition: &Transition) -> Option<Departure> {
        if let Some(left) = &mut self.left_early {
            left.insert(transition.key);
            left.extend(transition.socket.cookie.map(SocketKey));
        }
        let entry = match self.remove(transition.key) {
            Some(entry) => entry,
            None => self.remove(self.preexisting_of(transition)?)?,
        };
        Some(departure(&entry))
    }

    /// The preexisting socket of a transition, where keys are addresses and preexisting sockets have cookies.
    fn preexisting_of(&self, transition: &Transition) -> Option<SocketKey> {
        if self.identity == Identity::Cookie {
            return None;
        }
        let by_cookie = transition.socket.cookie.map(SocketKey).filter(|key| self.entries.contains_key(key));
        by_cookie.or_else(|| {
            let key = *self.by_address.get(&transition.socket.endpoints)?;
            let known = self.entries.get(&key)?.socket();
            let is_elsewhere = matches!((known.netns, transition.socket.netns), (Some(a), Some(b)) if a != b);
            (!is_elsewhere).then_some(key)
        })
    }

    /// Takes a socket that was there first. What a transition said of it meanwhile counts more.
    pub fn add_preexisting(&mut self, preexisting: &Preexisting) {
        let Some(key) = preexisting.socket.cookie.map(SocketKey) else { return };
        let has_left = self.left_early.as_ref().is_some_and(|left| left.contains(&key));
        if has_left || self.entries.contains_key(&key) {
            return;
        }
        if let Some(known) = self.by_address.get(&preexisting.socket.endpoints) {
            let known = self.entries.get(known).map(Entry::socket);
            if known.is_some_and(|known| known.netns == preexisting.socket.netns) {
                return;
            }
        }
        self.insert(key, Entry::new(&preexisting.socket, preexisting.stuck, preexisting.since, None));
    }

    /// All preexisting sockets have been added.
    pub fn preexisting_complete(&mut self) {
        self.left_early = None;
    }

    fn insert(&mut self, key: SocketKey, mut entry: Entry) {
        if self.entries.len() >= self.limit {
            self.evicted += 1;
            return;
        }
        let due = entry.since().at_latest_ns().saturating_add(self.threshold_ns);
        entry.set_phase(Phase::Waiting(due));
        self.waiting.insert((due, key));
        if self.identity == Identity::Address {
            self.by_address.insert(entry.endpoints(), key);
        }
        self.over += usize::from(entry.is_over());
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: SocketKey) -> Option<Entry> {
        let entry = self.entries.swap_remove(&key)?;
        self.over -= usize::from(entry.is_over());
        if let Phase::Waiting(due) = entry.phase() {
            self.waiting.remove(&(due, key));
        }
        if self.identity == Identity::Address && self.by_address.get(&entry.endpoints()) == Some(&key) {
            self.by_address.remove(&entry.endpoints());
        }
        Some(entry)
    }

    /// Up to `limit` sockets that are due at `now_ns` (CLOCK_MONOTONIC), the longest due first. Each has
    /// to be settled afterwards.
    pub fn take_due(&mut self, now_ns: u64, limit: usize) -> Vec<Due> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some((when, key)) = self.waiting.first().copied() else { break };
            if when > now_ns {
                break;
            }
            self.waiting.pop_first();
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.set_phase(Phase::BeingLookedAt);
            taken.push(due(key, entry));
        }
        taken
    }

    /// Whether the socket is being looked at. It is not if it left meanwhile, though its key may be in the table again:
    /// what was found is then of what it was before.
    #[must_use]
    pub fn is_being_looked_at(&self, key: SocketKey) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.phase() == Phase::BeingLookedAt)
    }

    /// What the socket was reported with in CLOSE_WAIT, before its connection was over.
    #[must_use]
    pub fn reported_before(&self, key: SocketKey) -> Option<GroupId> {
        self.entries.get(&key)?.reported_before()
    }

    /// Up to `limit` reported sockets of these groups, to be looked at once more. They stay reported.
    pub fn reported_with(&self, is_wanted: impl Fn(GroupId) -> bool, limit: usize) -> Vec<(Due, GroupId)> {
        let wanted = self.entries.iter().filter_map(|(key, entry)| match entry.phase() {
            Phase::Reported(group_id) if is_wanted(group_id) => Some((due(*key, entry), group_id)),
            _ => None,
        });
        wanted.take(limit).collect()
    }

    /// The owners of a reported socket have changed.
    pub fn regroup(&mut self, key: SocketKey, group_id: GroupId) {
        self.set_phase(key, Phase::Reported(group_id));
    }

    /// Takes what was learnt of a socket beyond what its transition told: its cookie and its namespace.
    pub fn learn(&mut self, key: SocketKey, socket: &Socket) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.learn(socket);
        }
    }

    /// Says what came of looking at a socket. One that left meanwhile is left alone.
    pub fn settle(&mut self, key: SocketKey, next: NextStep) {
        if !self.is_being_looked_at(key) {
            return;
        }
        match next {
            NextStep::Gone => {
                self.remove(key);
            }
            NextStep::Reported(group_id) => self.set_phase(key, Phase::Reported(group_id)),
            NextStep::Ignored => self.set_phase(key, Phase::Ignored),
            NextStep::LookAgain(when) => {
                self.waiting.insert((when, key));
                self.set_phase(key, Phase::Waiting(when));
            }
        }
    }

    fn set_phase(&mut self, key: SocketKey, phase: Phase) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.set_phase(phase);
        }
    }
}

fn due(key: SocketKey, entry: &Entry) -> Due {
    Due {
        key,
        socket: entry.socket(),
        stuck: entry.stuck(),
        since: entry.since(),
        kernel_socket: entry.kernel_socket(),
    }
}

fn departure(entry: &Entry) -> Departure {
    let group_id = match entry.phase() {
        Phase::Reported(group_id) => Some(group_id),
        Phase::Waiting(_) | Phase::BeingLookedAt | Phase::Ignored => None,
    };
    Departure { socket: entry.socket(), since: entry.since(), group_id }
}
