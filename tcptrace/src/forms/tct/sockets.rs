//! What a block has said about its sockets, and what that foresees of the next transition. Writer and reader
//! keep the same state, so only deviations are written.

use super::{
    entries::{LOCAL_ADDRESS, LOCAL_PORT, REMOTE_ADDRESS, REMOTE_PORT},
    wire::Malformed,
};
use crate::model::{
    endpoints::{Endpoint, Endpoints},
    state::State,
    transition::Transition,
};

/// Sockets remembered at once; when there are more, all are forgotten.
const MAX_SOCKETS: usize = 65_536;

/// What sockets tend to have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub netns: Option<u32>,
    pub cgroup_id: Option<u64>,
    pub is_mptcp: bool,
    pub has_cookie: bool,
}

impl Place {
    /// That of a transition's socket.
    pub(crate) fn of(transition: &Transition) -> Self {
        let Transition { socket, is_mptcp, cgroup_id, .. } = *transition;
        Self { netns: socket.netns, cgroup_id, is_mptcp, has_cookie: socket.cookie.is_some() }
    }
}

/// What is remembered of a socket, as of its last transition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered {
    /// 0 for a socket without one.
    pub cookie: u64,
    /// Number of its [`Place`] in the block.
    pub place: u32,
    pub endpoints: Endpoints,
    pub state: State,
    pub ktime_ns: u64,
}

/// What is foreseen of a transition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreseen {
    pub old_state: State,
    pub entered_ns: Option<u64>,
    /// No number of any [`Place`] when nothing can be foreseen.
    pub place: u32,
    pub endpoints: Endpoints,
    /// Of a socket that was seen before.
    pub cookie: Option<u64>,
}

impl Foreseen {
    /// The time in the old state at `ktime_ns`.
    pub(crate) fn dwell_ns(&self, ktime_ns: u64) -> Option<u64> {
        Some(ktime_ns.saturating_sub(self.entered_ns?))
    }
}

/// What is remembered of the sockets of a block.
#[derive(Debug)]
pub(crate) struct Sockets {
    known: Vec<Remembered>,
    /// By the state entered: the last transition that was the first of its socket in this block.
    firsts: [Foreseen; 16],
    /// The number of the socket of the last transition.
    last: Option<usize>,
    last_cookie: u64,
}

/// Both ends before anything is known of them.
const NOWHERE: Endpoints = Endpoints { local: Endpoint::UNSPECIFIED, remote: Endpoint::UNSPECIFIED };

impl Default for Sockets {
    fn default() -> Self {
        let first = Foreseen {
            old_state: State::Close,
            entered_ns: None,
            place: u32::MAX,
            endpoints: NOWHERE,
            cookie: None,
        };
        Self { known: Vec::new(), firsts: [first; 16], last: None, last_cookie: 0 }
    }
}

impl Sockets {
    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        let mut known = std::mem::take(&mut self.known);
        known.clear();
        *self = Self { known, ..Self::default() };
    }

    /// What is foreseen of a socket that was not seen before.
    pub(crate) fn foresee_new(&self, new_state: State) -> Foreseen {
        self.firsts[usize::from(new_state as u8 & 0x0f)]
    }

    /// What is foreseen of the socket that was remembered as the `number`th.
    pub(crate) fn foresee(&self, number: usize) -> Option<Foreseen> {
        let Remembered { cookie, place, endpoints, state, ktime_ns } = *self.known.get(number)?;
        let entered_ns = Some(ktime_ns);
        Some(Foreseen { old_state: state, entered_ns, place, endpoints, cookie: Some(cookie) })
    }

    /// The number of the socket that is `back` before the one that was remembered last.
    pub(crate) fn number(&self, back: u64) -> Result<usize, Malformed> {
        usize::try_from(back)
            .ok()
            .and_then(|back| self.known.len().checked_sub(back)?.checked_sub(1))
            .ok_or(Malformed("a socket is referred to that was not there"))
    }

    /// The inverse of [`Sockets::number`].
    pub(crate) fn back(&self, number: usize) -> u64 {
        (self.known.len().saturating_sub(number).saturating_sub(1)) as u64
    }

    /// The ends of the last transition's socket, seen from the other side.
    pub(crate) fn mirrored(&self) -> Endpoints {
        let last = self.last.and_then(|number| self.known.get(number));
        last.map_or(NOWHERE, |last| last.endpoints).mirrored()
    }

    /// The cookie of the socket that was remembered last.
    pub(crate) fn last_cookie(&self) -> u64 {
        self.last_cookie
    }

    /// Notes the first transition of a socket; its number, which is 0 when all before were forgotten.
    pub(crate) fn remember(&mut self, old_state: State, socket: Remembered) -> usize {
        if self.known.len() >= MAX_SOCKETS {
            self.known.clear();
        }
        self.last_cookie = socket.cookie;
        self.firsts[usize::from(socket.state as u8 & 0x0f)] = Foreseen {
            old_state,
            entered_ns: None,
            place: socket.place,
            endpoints: socket.endpoints,
            cookie: None,
        };
        let number = self.known.len();
        self.last = Some(number);
        self.known.push(socket);
        number
    }

    /// Notes a further transition of a socket.
    pub(crate) fn update(&mut self, number: usize, socket: Remembered) {
        self.last = Some(number);
        if let Some(known) = self.known.get_mut(number) {
            *known = socket;
        }
    }

    /// Notes a transition if all of it is as foreseen: most are, and then there is nothing to be compared
    /// twice or copied.
    pub(crate) fn go_on(&mut self, number: usize, transition: &Transition, place: u32) -> bool {
        let Some(known) = self.known.get_mut(number) else { return false };
        let is_foreseen = known.state == transition.old_state
            && transition.entered_ns == Some(known.ktime_ns)
            && known.ktime_ns <= transition.ktime_ns
            && known.place == place
            && known.endpoints == transition.socket.endpoints;
        if is_foreseen {
            (known.state, known.ktime_ns) = (transition.new_state, transition.ktime_ns);
            self.last = Some(number);
        }
        is_foreseen
    }
}

/// In which parts the ends differ.
pub(crate) fn differences(left: &Endpoints, right: &Endpoints) -> u8 {
    let flag = |is_same: bool, flag| if is_same { 0 } else { flag };
    flag(left.local.is_at(&right.local), LOCAL_ADDRESS)
        | flag(left.local.port() == right.local.port(), LOCAL_PORT)
        | flag(left.remote.is_at(&right.remote), REMOTE_ADDRESS)
        | flag(left.remote.port() == right.remote.port(), REMOTE_PORT)
}
