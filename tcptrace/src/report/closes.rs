//! Who closed connections first: the side that does keeps the connection in TIME_WAIT for a minute.
//!
//! ESTABLISHED→FIN_WAIT1 is a close() or shutdown() on this host, run in the caller's own context, so the task on
//! the CPU is the one that did it. ESTABLISHED→CLOSE_WAIT is the peer's, ESTABLISHED→CLOSE a reset by either
//! (net/ipv4/tcp.c `tcp_close_state`, tcp_input.c `tcp_fin`, `tcp_reset`); for those the task on the CPU means nothing.
//! TIME_WAIT itself never passes the tracepoint.

use std::collections::HashMap;

use super::{bounded::BoundedCounts, cast::Cast, series::Series, side::Peer, unix_ns};
use crate::model::{record::Timed, state::State, task::Comm, transition::Transition};

/// Processes, and ends of connections, that are counted one by one.
const MOST_CLOSERS: usize = 1_024;
const MOST_PEERS: usize = 4_096;

/// Who closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedFirst {
    /// A process of this host.
    Us,
    /// The peer.
    Peer,
    /// Nobody: it was reset.
    Reset,
}

impl ClosedFirst {
    /// What a transition tells of it.
    pub(crate) fn of(transition: &Transition) -> Option<Self> {
        match (transition.old_state, transition.new_state) {
            (_, State::FinWait1) => Some(Self::Us),
            (State::Established, State::CloseWait) => Some(Self::Peer),
            (State::Established, State::Close) => Some(Self::Reset),
            _ => None,
        }
    }
}

/// A process that closed: the index of its host, and its pid.
pub(crate) type Closer = (u32, u32);

/// The sums.
#[derive(Clone, Debug)]
pub(crate) struct Closes {
    /// By who closed first, over time, in the order of [`ClosedFirst`].
    pub over_time: [Series; 3],
    /// By process, of those that closed first.
    pub closers: BoundedCounts<Closer>,
    names: HashMap<Closer, Comm>,
    /// By peer, each in the order of [`ClosedFirst`].
    pub peers: BoundedCounts<Peer, 3>,
}

impl Default for Closes {
    fn default() -> Self {
        Self {
            over_time: Default::default(),
            closers: BoundedCounts::new(MOST_CLOSERS),
            names: HashMap::new(),
            peers: BoundedCounts::new(MOST_PEERS),
        }
    }
}

impl Closes {
    /// Counts a close of a socket of this host.
    pub(crate) fn add(
        &mut self,
        closed: ClosedFirst,
        host: u32,
        transition: &Timed<Transition>,
        peer: &Peer,
    ) {
        let kind = closed as usize;
        if let Some(series) = self.over_time.get_mut(kind) {
            series.add(unix_ns(transition.time), 1);
        }
        self.peers.add(peer, kind);
        if closed != ClosedFirst::Us {
            return;
        }
        let task = &transition.what.oncpu;
        let closer = (host, task.pid);
        self.closers.add(&closer, 0);
        self.names.insert(closer, task.comm);
        if self.names.len() > MOST_CLOSERS * 2 {
            self.names.retain(|closer, _| self.closers.contains(closer));
        }
    }

    /// How many closed first on either side, and how many were reset.
    pub(crate) fn total(&self) -> [u64; 3] {
        self.peers.total()
    }

    /// The name of a process that closed: its own if it is known, else that of the thread that closed last.
    pub(crate) fn name(&self, closer: Closer, cast: &Cast) -> String {
        let (host, pid) = closer;
        let comm = || self.names.get(&closer).map(|comm| comm.to_text().into_owned()).unwrap_or_default();
        cast.with_pid(host, pid).map_or_else(comm, |process| process.identity.comm.clone())
    }
}
