//! What is kept of one socket: small, because there may be a million of them.

use super::Ticket;
use crate::transition::{Endpoints, KernelSocket, Socket};

/// When a socket entered CLOSE_WAIT (CLOCK_MONOTONIC, nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    at_latest_ns: u64,
    /// Equal to `at_latest_ns` when the moment is known; 0 when there is no bound.
    at_earliest_ns: u64,
}

impl Since {
    /// The moment was seen.
    pub fn exactly(ktime_ns: u64) -> Self {
        Self { at_latest_ns: ktime_ns, at_earliest_ns: ktime_ns }
    }

    /// The moment lies between two others; without the earlier one it may be any time before the later.
    pub fn within(at_earliest_ns: Option<u64>, at_latest_ns: u64) -> Self {
        // A bracket never claims to be exact, even when both ends fall together.
        let at_earliest_ns = at_earliest_ns.unwrap_or(0).min(at_latest_ns.saturating_sub(1));
        Self { at_latest_ns, at_earliest_ns }
    }

    /// It has been in CLOSE_WAIT at this time for certain.
    pub fn at_latest_ns(self) -> u64 {
        self.at_latest_ns
    }

    /// Whether the moment was seen.
    pub fn is_exact(self) -> bool {
        self.at_latest_ns == self.at_earliest_ns
    }

    /// Time in CLOSE_WAIT at `now_ns`: the least it can be, and the most when that is known.
    pub fn age_at(self, now_ns: u64) -> (u64, Option<u64>) {
        let most = (self.at_earliest_ns != 0).then(|| now_ns.saturating_sub(self.at_earliest_ns));
        (now_ns.saturating_sub(self.at_latest_ns), most)
    }
}

/// How far a socket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is due at this time (CLOCK_MONOTONIC, nanoseconds).
    Waiting(u64),
    /// Somebody is finding out who holds it.
    BeingLookedAt,
    /// It was reported.
    Reported(Ticket),
    /// It is held by somebody who was not asked for.
    Ignored,
}

/// A socket in CLOSE_WAIT, without the room that an `Option` takes.
#[derive(Debug)]
pub(super) struct Entry {
    since: Since,
    cookie: u64,
    kernel_socket: u64,
    endpoints: Endpoints,
    netns: u32,
    pub phase: Phase,
}

const _: () = assert!(size_of::<Entry>() <= 96, "a million entries have to stay under 200 MB");

impl Entry {
    pub fn new(socket: &Socket, since: Since, kernel_socket: Option<KernelSocket>) -> Self {
        let Socket { cookie, netns, endpoints } = *socket;
        Self {
            since,
            cookie: cookie.unwrap_or(0),
            kernel_socket: kernel_socket.map_or(0, |socket| socket.0),
            endpoints,
            netns: netns.unwrap_or(0),
            phase: Phase::BeingLookedAt,
        }
    }

    /// Fills in what is not known yet.
    pub fn learn(&mut self, socket: &Socket) {
        if self.cookie == 0 {
            self.cookie = socket.cookie.unwrap_or(0);
        }
        if self.netns == 0 {
            self.netns = socket.netns.unwrap_or(0);
        }
    }

    pub fn since(&self) -> Since {
        self.since
    }

    /// `None` for a socket that was there first.
    pub fn kernel_socket(&self) -> Option<KernelSocket> {
        (self.kernel_socket != 0).then_some(KernelSocket(self.kernel_socket))
    }

    pub fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    pub fn socket(&self) -> Socket {
        Socket {
            cookie: (self.cookie != 0).then_some(self.cookie),
            netns: (self.netns != 0).then_some(self.netns),
            endpoints: self.endpoints,
        }
    }
}
