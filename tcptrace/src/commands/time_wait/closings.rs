//! Remembers who closed which socket first, from the transition ESTABLISHED→FIN_WAIT1 until the minisocket is
//! gone. Pure; bounded.

use std::collections::{HashMap, VecDeque};

use rustc_hash::FxHashMap;

use crate::model::{endpoints::Endpoints, state::State, time_wait::CloserId, transition::Transition};

/// A minute in FIN_WAIT2, a minute in TIME_WAIT, and a margin for late timers.
const KEPT_NS: u64 = 130_000_000_000;

/// The time that the rate of closings covers, and the most closings.
const LATELY_NS: u64 = 10_000_000_000;
const MOST_LATELY: usize = 100_000;

/// The shortest time to compute a rate from.
const SHORTEST_NS: u64 = 1_000_000_000;

/// A connection that this host closed first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub ktime_ns: u64,
    /// Its network namespace, if this kernel reports it.
    pub netns: Option<u32>,
    pub endpoints: Endpoints,
}

/// The key of a socket without a cookie.
type AddressKey = (Option<u32>, Endpoints);

#[derive(Debug, Default)]
struct Generation {
    began_ns: u64,
    by_cookie: FxHashMap<u64, CloserId>,
    /// Sockets without a cookie, and MPTCP connections, whose first path has their addresses but another cookie. Peers
    /// choose the addresses: the default hasher resists collisions.
    by_address: HashMap<AddressKey, CloserId>,
}

impl Generation {
    fn len(&self) -> usize {
        self.by_cookie.len() + self.by_address.len()
    }
}

/// The closings of a session, as far back as minisockets exist.
#[derive(Debug)]
pub(crate) struct Closings {
    young: Generation,
    old: Generation,
    lately: VecDeque<Closing>,
    began_ns: u64,
    /// Most entries of a generation.
    room: usize,
    evicted: u64,
}

/// Where the namespace is not known, neither is the interface.
fn address_key(netns: Option<u32>, endpoints: Endpoints) -> AddressKey {
    (netns, if netns.is_some() { endpoints } else { endpoints.on(None) })
}

impl Closings {
    /// Begins at `now_ns` and keeps up to `most` closings.
    pub(crate) fn new(now_ns: u64, most: usize) -> Self {
        let generation = || Generation { began_ns: now_ns, ..Generation::default() };
        Self {
            young: generation(),
            old: generation(),
            lately: VecDeque::new(),
            began_ns: now_ns,
            room: (most / 2).max(1),
            evicted: 0,
        }
    }

    /// Whether this host closes first by this transition. Only then is the task on the CPU the closer: by close(), by
    /// shutdown(), or by exiting. (An interrupt can shut down a socket that is not established yet.)
    pub(crate) fn is_closing(transition: &Transition) -> bool {
        transition.old_state == State::Established && transition.new_state == State::FinWait1
    }

    /// Remembers that a socket was closed, and the closer if known.
    pub(crate) fn remember(&mut self, transition: &Transition, closer: Option<CloserId>) {
        let Transition { ktime_ns, socket, is_mptcp, .. } = *transition;
        self.make_room(ktime_ns);
        if let Some(closer) = closer {
            match socket.cookie.filter(|_| !is_mptcp) {
                Some(cookie) => self.young.by_cookie.insert(cookie, closer),
                None => self.young.by_address.insert(address_key(socket.netns, socket.endpoints), closer),
            };
        }
        if self.lately.len() >= MOST_LATELY {
            self.lately.pop_front();
        }
        self.lately.push_back(Closing { ktime_ns, netns: socket.netns, endpoints: socket.endpoints });
    }

    fn make_room(&mut self, now_ns: u64) {
        let is_full = self.young.len() >= self.room;
        let is_aged = now_ns.saturating_sub(self.young.began_ns) >= KEPT_NS;
        if is_full || is_aged {
            let fresh = Generation { began_ns: now_ns, ..Generation::default() };
            let dropped = std::mem::replace(&mut self.old, std::mem::replace(&mut self.young, fresh));
            // Its youngest entry is as old as the start of the next generation.
            if now_ns.saturating_sub(self.old.began_ns) < KEPT_NS {
                self.evicted += dropped.len() as u64;
            }
        }
    }

    /// Who closed the socket that became this minisocket.
    pub(crate) fn closer(&self, cookie: u64, netns: u32, endpoints: &Endpoints) -> Option<CloserId> {
        let generations = [&self.young, &self.old];
        let by_cookie = generations.iter().find_map(|generation| generation.by_cookie.get(&cookie));
        let by_address = || {
            generations.iter().find_map(|generation| {
                let find = |netns| generation.by_address.get(&address_key(netns, *endpoints));
                find(Some(netns)).or_else(|| find(None))
            })
        };
        by_cookie.or_else(by_address).copied()
    }

    /// Recent closings, and the time they cover in nanoseconds; `None` if that is too short.
    pub(crate) fn lately(&mut self, now_ns: u64) -> Option<(u64, impl Iterator<Item = &Closing>)> {
        let from = now_ns.saturating_sub(LATELY_NS).max(self.began_ns);
        let is_full = self.lately.len() >= MOST_LATELY;
        while self.lately.front().is_some_and(|first| first.ktime_ns < from) {
            self.lately.pop_front();
        }
        let from = self.lately.front().filter(|_| is_full).map_or(from, |first| first.ktime_ns);
        let elapsed = now_ns.saturating_sub(from);
        (elapsed >= SHORTEST_NS || is_full).then(|| (elapsed.max(1), self.lately.iter()))
    }

    /// Closings evicted before their minisockets were gone.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{examples, socket::Socket};

    const SECOND: u64 = 1_000_000_000;

    fn closing(cookie: Option<u64>, port: u16, ktime_ns: u64) -> Transition {
        let endpoints = Endpoints { local: ([10, 0, 0, 1], port).into(), remote: ([10, 0, 0, 2], 80).into() };
        let socket = Socket { cookie, netns: Some(7), endpoints };
        Transition { socket, ktime_ns, new_state: State::FinWait1, ..examples::transition() }
    }

    fn found(closings: &Closings, cookie: u64, port: u16) -> Option<u32> {
        let endpoints = closing(None, port, 0).socket.endpoints;
        closings.closer(cookie, 7, &endpoints).map(|CloserId(id)| id)
    }

    #[test]
    fn a_socket_is_found_by_cookie_and_else_by_its_addresses() {
        let mut closings = Closings::new(0, 100);
        closings.remember(&closing(Some(11), 1, 1), Some(CloserId(1)));
        closings.remember(&closing(None, 2, 2), Some(CloserId(2)));
        // MPTCP: the minisocket is that of the first path, with a cookie of its own.
        closings.remember(&Transition { is_mptcp: true, ..closing(Some(13), 3, 3) }, Some(CloserId(3)));
        assert_eq!(
            [found(&closings, 11, 9), found(&closings, 99, 2), found(&closings, 98, 3)],
            [Some(1), Some(2), Some(3)]
        );
        assert_eq!([found(&closings, 97, 1), found(&closings, 13, 9)], [None, None]);
    }

    #[test]
    fn closings_are_kept_for_two_minutes_and_no_more_than_there_is_room_for() {
        let mut closings = Closings::new(0, 1_000);
        closings.remember(&closing(Some(1), 1, 0), Some(CloserId(1)));
        closings.remember(&closing(Some(2), 2, 131 * SECOND), Some(CloserId(2)));
        assert_eq!(found(&closings, 1, 9), Some(1));
        closings.remember(&closing(Some(3), 3, 262 * SECOND), Some(CloserId(3)));
        assert_eq!((found(&closings, 1, 9), closings.evicted()), (None, 0), "too old to matter");
        for cookie in 0..5_000 {
            closings.remember(&closing(Some(100 + cookie), 4, 263 * SECOND), Some(CloserId(4)));
            assert!(closings.young.len() + closings.old.len() <= 1_000);
        }
        assert!(closings.evicted() >= 4_000, "{}", closings.evicted());
        assert_eq!(found(&closings, 5_099, 9), Some(4), "the latest are kept");
    }

    #[test]
    fn the_rate_of_late_is_over_ten_seconds_or_the_session_so_far() {
        let mut closings = Closings::new(0, 1_000);
        let count =
            |closings: &mut Closings, now| closings.lately(now).map(|(over, lately)| (over, lately.count()));
        closings.remember(&closing(Some(1), 1, SECOND / 2), Some(CloserId(1)));
        assert_eq!(count(&mut closings, SECOND / 2), None);
        assert_eq!(count(&mut closings, 4 * SECOND), Some((4 * SECOND, 1)));
        closings.remember(&closing(Some(2), 1, 30 * SECOND), Some(CloserId(1)));
        assert_eq!(count(&mut closings, 31 * SECOND), Some((10 * SECOND, 1)));
        for nth in 0..MOST_LATELY as u64 + 50 {
            closings.remember(&closing(Some(nth), 1, 40 * SECOND + nth * 10_000), Some(CloserId(1)));
        }
        let (over, counted) = count(&mut closings, 41 * SECOND + 500_000).unwrap_or_default();
        assert_eq!((over, counted), (SECOND, MOST_LATELY), "of too many, the time of those that are kept");
    }
}
