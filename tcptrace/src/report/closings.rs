//! Who closed connections first: that side keeps the connection in TIME_WAIT for a minute.
//!
//! ESTABLISHED→FIN_WAIT1 is a close() or shutdown() on this host. It runs in the caller's context, so the
//! task on the CPU is the closer. ESTABLISHED→CLOSE_WAIT is a close by the peer, ESTABLISHED→CLOSE a reset by
//! either side (net/ipv4/tcp.c `tcp_close_state`, tcp_input.c `tcp_fin`, `tcp_reset`); the task on the CPU
//! says nothing about those. TIME_WAIT itself never passes the tracepoint.

use std::collections::HashMap;

use super::{bounded::BoundedCounts, entities::Entities, series::TimeSeries, side::Peer, time::unix_ns};
use crate::model::{pid::Pid, record::Timed, state::State, task::Comm, transition::Transition};

/// Closers and peers counted one by one.
const MOST_CLOSERS: usize = 1_024;
const MOST_PEERS: usize = 4_096;

/// Who closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstCloser {
    /// A process of this host.
    Us,
    Peer,
    /// Nobody: it was reset.
    Reset,
}

impl FirstCloser {
    /// The side that closed first by this transition; `None` if it is no first close.
    pub(crate) fn of(transition: &Transition) -> Option<Self> {
        match (transition.old_state, transition.new_state) {
            (_, State::FinWait1) => Some(Self::Us),
            (State::Established, State::CloseWait) => Some(Self::Peer),
            (State::Established, State::Close) => Some(Self::Reset),
            _ => None,
        }
    }
}

/// A process that closed: the index of its host and its pid.
pub(crate) type CloserKey = (u32, Pid);

/// Connections by who closed them first.
#[derive(Clone, Debug)]
pub(crate) struct ClosingCounts {
    /// Over time, in the order of [`FirstCloser`].
    pub over_time: [TimeSeries; 3],
    /// By process of this host.
    pub closers: BoundedCounts<CloserKey>,
    names: HashMap<CloserKey, Comm>,
    /// By peer, each in the order of [`FirstCloser`].
    pub peers: BoundedCounts<Peer, 3>,
}

impl Default for ClosingCounts {
    fn default() -> Self {
        Self {
            over_time: Default::default(),
            closers: BoundedCounts::new(MOST_CLOSERS),
            names: HashMap::new(),
            peers: BoundedCounts::new(MOST_PEERS),
        }
    }
}

impl ClosingCounts {
    /// Counts a close of a socket of this host.
    pub(crate) fn add(
        &mut self,
        closed: FirstCloser,
        host: u32,
        transition: &Timed<Transition>,
        peer: &Peer,
    ) {
        let kind = closed as usize;
        if let Some(series) = self.over_time.get_mut(kind) {
            series.add(unix_ns(transition.time), 1);
        }
        self.peers.add(peer, kind);
        if closed != FirstCloser::Us {
            return;
        }
        let task = &transition.what.oncpu;
        // Who left it to the kernel is not known.
        if task.is_kernel_worker() {
            return;
        }
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

    /// The name of the closing process if known, else of its thread that closed last.
    pub(crate) fn name(&self, closer: CloserKey, entities: &Entities) -> String {
        let (host, pid) = closer;
        let comm = || self.names.get(&closer).map(|comm| comm.to_text().into_owned()).unwrap_or_default();
        entities.with_pid(host, pid).map_or_else(comm, |process| process.identity.comm.clone())
    }
}
