//! The state kept for one socket: small, because there may be a million of them.

use crate::model::{
    close_wait::{Since, Stuck},
    endpoints::Endpoints,
    socket::{KernelSocket, Socket},
};

/// Identifies the owners and the verdict that a socket was reported with, see `tally`.
pub(crate) type GroupId = u32;

/// How far a socket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is due at this time (CLOCK_MONOTONIC, nanoseconds).
    Waiting(u64),
    /// Somebody is finding out who holds it.
    BeingLookedAt,
    /// It was reported.
    Reported(GroupId),
    /// It is held by somebody who was not asked for.
    Ignored,
}

/// A stuck socket, without the room that an `Option` takes.
#[derive(Debug)]
pub(super) struct Entry {
    since: Since,
    cookie: u64,
    kernel_socket: u64,
    endpoints: Endpoints,
    netns: u32,
    stuck: Stuck,
    pub phase: Phase,
}

const _: () = assert!(size_of::<Entry>() <= 96, "a million entries have to stay under 200 MB");

impl Entry {
    pub(crate) fn new(
        socket: &Socket,
        stuck: Stuck,
        since: Since,
        kernel_socket: Option<KernelSocket>,
    ) -> Self {
        let Socket { cookie, netns, endpoints } = *socket;
        Self {
            since,
            cookie: cookie.unwrap_or(0),
            kernel_socket: kernel_socket.map_or(0, |socket| socket.0),
            endpoints,
            netns: netns.unwrap_or(0),
            stuck,
            phase: Phase::BeingLookedAt,
        }
    }

    /// Fills in what is not known yet.
    pub(crate) fn learn(&mut self, socket: &Socket) {
        if self.cookie == 0 {
            self.cookie = socket.cookie.unwrap_or(0);
        }
        if self.netns == 0 {
            self.netns = socket.netns.unwrap_or(0);
        }
    }

    pub(crate) fn stuck(&self) -> Stuck {
        self.stuck
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stuck, Stuck::Over(_))
    }

    pub(crate) fn since(&self) -> Since {
        self.since
    }

    /// `None` for a socket that was there first.
    pub(crate) fn kernel_socket(&self) -> Option<KernelSocket> {
        (self.kernel_socket != 0).then_some(KernelSocket(self.kernel_socket))
    }

    pub(crate) fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    pub(crate) fn socket(&self) -> Socket {
        Socket {
            cookie: (self.cookie != 0).then_some(self.cookie),
            netns: (self.netns != 0).then_some(self.netns),
            endpoints: self.endpoints,
        }
    }
}
