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
    /// What it was reported with in CLOSE_WAIT, before its connection was over; that plus one, 0 when it was not.
    reported_before: GroupId,
    phase: PhaseKind,
    /// When it is due, or its group.
    phase_value: u64,
}

/// A [`Phase`] without its value, which would take eight bytes for this one.
#[derive(Clone, Copy, Debug)]
enum PhaseKind {
    Waiting,
    BeingLookedAt,
    Reported,
    Ignored,
}

const _: () = assert!(size_of::<Entry>() <= 88, "a million entries have to stay under 200 MB");

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
            reported_before: 0,
            phase: PhaseKind::BeingLookedAt,
            phase_value: 0,
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

    pub(super) fn phase(&self) -> Phase {
        match self.phase {
            PhaseKind::Waiting => Phase::Waiting(self.phase_value),
            PhaseKind::BeingLookedAt => Phase::BeingLookedAt,
            PhaseKind::Reported => {
                Phase::Reported(GroupId::try_from(self.phase_value).unwrap_or(GroupId::MAX))
            }
            PhaseKind::Ignored => Phase::Ignored,
        }
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        (self.phase, self.phase_value) = match phase {
            Phase::Waiting(due) => (PhaseKind::Waiting, due),
            Phase::BeingLookedAt => (PhaseKind::BeingLookedAt, 0),
            Phase::Reported(group_id) => (PhaseKind::Reported, group_id.into()),
            Phase::Ignored => (PhaseKind::Ignored, 0),
        };
    }

    pub(crate) fn stuck(&self) -> Stuck {
        self.stuck
    }

    /// Notes what the socket was reported with in CLOSE_WAIT, before its connection was over.
    pub(super) fn set_reported_before(&mut self, group_id: GroupId) {
        self.reported_before = group_id.saturating_add(1);
    }

    pub(super) fn reported_before(&self) -> Option<GroupId> {
        self.reported_before.checked_sub(1)
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
