//! The other ends of connections, where they are sockets of this host too: held ones by their addresses and the
//! sequence number of the FIN, the rest by a look into the kernel's table. Inspects nothing else.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::{dump::NamespaceDumper, side::side};
use crate::{
    kernel::SocketDescriptor,
    model::{
        connection_side::ConnectionSide,
        endpoints::Endpoints,
        holders::Holders,
        interface::Interface,
        socket::{Socket, TcpFlavour},
        state::{State, StateSet},
    },
    netlink::{DiagSocket, SockDiag, SocketId},
};

/// The states of the other end of a socket in CLOSE_WAIT, as long as a process may hold it.
pub(super) const HALF_CLOSED: StateSet = StateSet::FIN_WAIT1.union(StateSet::FIN_WAIT2);

/// Most sockets whose other end is looked up in the kernel's table in one go, at some microseconds each.
const MOST_LOOKUPS: usize = 1_024;

/// A held socket that may be the other end of a connection.
#[derive(Debug)]
struct Candidate {
    cookie: u64,
    netns: u32,
    state: State,
    /// 0 when not known.
    fin_sequence: u32,
    side: Option<ConnectionSide>,
    holders: Holders,
}

/// A held socket that its process has shut down for sending, as a relay does when it passes an end on.
#[derive(Debug)]
pub(super) struct HalfClosed<'a> {
    pub socket: Socket,
    pub fin_sequence: u32,
    pub side: Option<ConnectionSide>,
    pub holders: &'a Holders,
}

/// A socket in CLOSE_WAIT whose other end is wanted.
#[derive(Debug)]
pub(super) struct WantedEnd {
    pub socket: Socket,
    /// The table that it is in, and its other end too.
    pub flavour: TcpFlavour,
    /// 0 when not known.
    pub fin_sequence: u32,
    pub is_held: bool,
    /// The age that is certain.
    pub age_ns: u64,
}

/// What was found of the other end of a connection.
#[derive(Clone, Debug)]
pub(super) enum FoundEnd<'a> {
    /// Processes hold it; whether they have shut it down for reading.
    Held { state: State, holders: &'a Holders, is_shut_for_reading: bool },
    /// The kernel lists it, and no process is known to hold it; whether close() has been called.
    Listed { state: State, is_closed: bool, is_shut_for_reading: bool },
    /// It was on this host and is no more.
    Gone,
}

/// The other ends of connections.
#[derive(Debug, Default)]
pub(super) struct OtherEnds {
    /// By the addresses of the socket whose other end it may be, without their interface: each end of a link has its own.
    held: FxHashMap<Endpoints, Vec<Candidate>>,
    /// What the kernel's table has, by the cookie of the socket whose other end was looked up.
    looked_up: FxHashMap<u64, Option<DiagSocket>>,
}

impl OtherEnds {
    /// Takes a descriptor of a socket that may be another one's other end.
    pub(super) fn add(&mut self, descriptor: &SocketDescriptor) {
        let cookie = descriptor.known_by.number();
        let candidate = || Candidate {
            cookie,
            netns: descriptor.netns,
            state: descriptor.state,
            fin_sequence: descriptor.fin_sequence,
            side: side(descriptor),
            holders: Holders::new(),
        };
        let holders = &mut self.candidate(descriptor.endpoints, cookie, candidate).holders;
        holders.entry(descriptor.holder).or_default().push(descriptor.fd);
    }

    /// Takes a socket with its holders.
    pub(super) fn add_listed(&mut self, netns: u32, socket: &DiagSocket, holders: &Holders) {
        let Some(state) = State::from_number(socket.state) else { return };
        let endpoints = Endpoints { local: socket.local, remote: socket.remote };
        let cookie = socket.cookie;
        let candidate =
            || Candidate { cookie, netns, state, fin_sequence: 0, side: None, holders: Holders::new() };
        self.candidate(endpoints, cookie, candidate).holders.clone_from(holders);
    }

    fn candidate(
        &mut self,
        endpoints: Endpoints,
        cookie: u64,
        new: impl FnOnce() -> Candidate,
    ) -> &mut Candidate {
        let candidates = self.held.entry(endpoints.on(None).mirrored()).or_default();
        let at = candidates.iter().position(|candidate| candidate.cookie == cookie);
        let at = at.unwrap_or_else(|| {
            candidates.push(new());
            candidates.len() - 1
        });
        &mut candidates[at]
    }

    /// The sockets that their processes have shut down for sending.
    pub(super) fn half_closed(&self) -> impl Iterator<Item = HalfClosed<'_>> {
        let all = self.held.iter().flat_map(|(key, candidates)| candidates.iter().map(|one| (*key, one)));
        all.filter(|(_, candidate)| HALF_CLOSED.contains(candidate.state)).map(|(key, candidate)| {
            HalfClosed {
                socket: Socket {
                    cookie: Some(candidate.cookie),
                    netns: Some(candidate.netns),
                    endpoints: key.mirrored(),
                },
                fin_sequence: candidate.fin_sequence,
                side: candidate.side,
                holders: &candidate.holders,
            }
        })
    }

    /// Puts descriptors in order.
    pub(super) fn sort(&mut self) {
        for candidate in self.held.values_mut().flatten() {
            for fds in candidate.holders.values_mut() {
                fds.sort_unstable();
                fds.dedup();
            }
        }
    }

    /// Looks up the other ends that nobody holds, and those of which a process may wait for the answer, as many as may be.
    pub(super) fn look_up(&mut self, dumper: &NamespaceDumper, wanted: Vec<WantedEnd>) {
        let mut by_netns: FxHashMap<u32, Vec<(u64, TcpFlavour, SocketId)>> = FxHashMap::default();
        for WantedEnd { socket, flavour, fin_sequence, .. } in self.first_unclear(wanted) {
            let held = self.held(&socket, fin_sequence).map(|candidate| candidate.netns);
            let (Some(netns), Some(cookie)) = (held.or(socket.netns), socket.cookie) else { continue };
            let Endpoints { local, remote } = socket.endpoints.mirrored();
            // Of a link-local address, the other end in this namespace is on the same interface.
            let interface = socket.endpoints.interface().map_or(0, Interface::index);
            let id = SocketId { cookie: SocketId::ANY_COOKIE, local, remote, interface };
            by_netns.entry(netns).or_default().push((cookie, flavour, id));
        }
        for (netns, ids) in by_netns {
            let Ok(mut diag) = dumper.open(netns) else { continue };
            // By addresses the kernel finds the first path of an MPTCP connection, which outlives its end.
            let has_mptcp = ids.iter().any(|(_, flavour, _)| *flavour == TcpFlavour::Mptcp);
            let mptcp = has_mptcp.then(|| mptcp_by_addresses(&mut diag)).flatten();
            for (cookie, flavour, id) in ids {
                let found = match flavour {
                    TcpFlavour::Tcp => diag.lookup(flavour, &id, false).ok(),
                    TcpFlavour::Mptcp => {
                        let endpoints = Endpoints { local: id.local, remote: id.remote };
                        mptcp.as_ref().map(|mptcp| mptcp.get(&endpoints).cloned())
                    }
                };
                self.looked_up.extend(found.map(|found| (cookie, found)));
            }
        }
    }

    /// The sockets whose other ends are looked up: those that somebody holds before those in an accept queue, which nobody
    /// has, and the oldest first, which are the leak and not the connections that will be closed in a moment.
    fn first_unclear(&self, wanted: Vec<WantedEnd>) -> Vec<WantedEnd> {
        let is_clear = |one: &WantedEnd| {
            // Only a look into the table tells whether one that was shut down still reads.
            let held = self.held(&one.socket, one.fin_sequence);
            held.is_some_and(|candidate| !HALF_CLOSED.contains(candidate.state))
        };
        let mut unclear: Vec<WantedEnd> = wanted.into_iter().filter(|one| !is_clear(one)).collect();
        unclear.sort_by_key(|one| (!one.is_held, Reverse(one.age_ns)));
        unclear.truncate(MOST_LOOKUPS);
        unclear
    }

    /// The other end of a socket; `None` when it is not on this host, or not known to be.
    pub(super) fn find(&self, socket: &Socket, fin_sequence: u32) -> Option<FoundEnd<'_>> {
        let looked_up = socket.cookie.and_then(|cookie| self.looked_up.get(&cookie));
        // The peer's FIN shuts a socket for reading too; in these states it has not come.
        let is_shut = |found: &DiagSocket| {
            let state = State::from_number(found.state);
            found.is_shut_for_reading && state.is_some_and(|state| HALF_CLOSED.contains(state))
        };
        if let Some(Candidate { state, holders, .. }) = self.held(socket, fin_sequence) {
            let is_shut_for_reading = looked_up.and_then(Option::as_ref).is_some_and(is_shut);
            return Some(FoundEnd::Held { state: *state, holders, is_shut_for_reading });
        }
        // Where no connection has the addresses, the kernel answers with who listens there (inet_diag_find_one_icsk).
        match looked_up?.as_ref().filter(|found| State::from_number(found.state) != Some(State::Listen)) {
            // Not accepted yet, or closed: neither has an inode.
            Some(listed) => {
                let state = State::from_number(listed.state)?;
                let is_closed = listed.inode == 0 && state != State::Established;
                Some(FoundEnd::Listed { state, is_closed, is_shut_for_reading: is_shut(listed) })
            }
            None => socket.endpoints.is_within_host().then_some(FoundEnd::Gone),
        }
    }

    fn held(&self, socket: &Socket, fin_sequence: u32) -> Option<&Candidate> {
        let may_be = |candidate: &&Candidate| {
            // Each namespace has loopback addresses of its own.
            let is_reachable = socket.netns == Some(candidate.netns) || !socket.endpoints.is_loopback();
            let sequences = (fin_sequence, candidate.fin_sequence);
            is_reachable && (sequences.0 == 0 || sequences.1 == 0 || sequences.0 == sequences.1)
        };
        let mut found = self.held.get(&socket.endpoints.on(None))?.iter().filter(may_be);
        let first = found.next()?;
        // Two namespaces may use the same addresses.
        found.next().is_none().then_some(first)
    }
}

/// The MPTCP connections of a namespace, which the kernel does not look up by address; `None` where it does not list them.
fn mptcp_by_addresses(diag: &mut SockDiag) -> Option<FxHashMap<Endpoints, DiagSocket>> {
    let mut found = FxHashMap::default();
    let listed = diag.dump(TcpFlavour::Mptcp, StateSet::ALL, false, |socket| {
        found.insert(Endpoints { local: socket.local, remote: socket.remote }, socket);
    });
    listed.is_ok().then_some(found)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]
mod tests {
    use super::*;

    const HERE: u32 = 1;
    const ELSEWHERE: u32 = 2;

    fn socket(address: &str) -> Socket {
        let local = format!("{address}:80").parse().unwrap();
        let remote = format!("{address}:4000").parse().unwrap();
        Socket { cookie: Some(7), netns: Some(HERE), endpoints: Endpoints { local, remote } }
    }

    fn candidate(cookie: u64, netns: u32, fin_sequence: u32) -> Candidate {
        Candidate { cookie, netns, state: State::FinWait2, fin_sequence, side: None, holders: Holders::new() }
    }

    fn found(address: &str, candidates: Vec<Candidate>, fin_sequence: u32) -> Option<u64> {
        let mut ends = OtherEnds::default();
        ends.held.insert(socket(address).endpoints, candidates);
        ends.held(&socket(address), fin_sequence).map(|candidate| candidate.cookie)
    }

    #[test]
    fn the_other_end_has_mirrored_addresses_and_the_same_sequence_number() {
        assert_eq!(found("10.0.0.1", vec![candidate(1, HERE, 50)], 50), Some(1));
        assert_eq!(found("10.0.0.1", vec![candidate(1, ELSEWHERE, 50)], 50), Some(1));
        assert_eq!(found("10.0.0.1", vec![candidate(1, ELSEWHERE, 51)], 50), None, "another connection");
        assert_eq!(found("10.0.0.1", vec![candidate(1, HERE, 0)], 50), Some(1), "not known");
    }

    #[test]
    fn of_two_that_may_be_it_neither_is() {
        let both = || vec![candidate(1, HERE, 0), candidate(2, ELSEWHERE, 0)];
        assert_eq!(found("10.0.0.1", both(), 0), None);
        // Loopback addresses do not lead to another namespace.
        assert_eq!(found("127.0.0.1", both(), 0), Some(1));
        assert_eq!(found("127.0.0.1", vec![candidate(2, ELSEWHERE, 50)], 50), None);
    }

    #[test]
    fn of_too_many_the_oldest_that_somebody_holds_are_looked_up() {
        let wanted = |number: u64| {
            let socket = Socket { cookie: Some(number), ..socket("10.0.0.1") };
            let is_held = !number.is_multiple_of(4);
            WantedEnd { socket, flavour: TcpFlavour::Tcp, fin_sequence: 0, is_held, age_ns: number }
        };
        let all = 2 * MOST_LOOKUPS as u64;
        let found = OtherEnds::default().first_unclear((0..all).map(wanted).collect());
        let cookies: Vec<u64> = found.into_iter().filter_map(|one| one.socket.cookie).collect();
        let expected: Vec<u64> = (0..all).rev().filter(|number| !number.is_multiple_of(4)).collect();
        assert_eq!(cookies, expected[..MOST_LOOKUPS]);
    }

    fn listed(state: State) -> DiagSocket {
        let [local, remote] = ["127.0.0.1:4000", "127.0.0.1:80"].map(|end| end.parse().unwrap());
        DiagSocket::example(8, state, local, remote)
    }

    #[test]
    fn whoever_has_shut_down_both_ways_does_not_read_any_more() {
        let is_shut = |state, is_shut_for_reading| {
            let mut ends = OtherEnds::default();
            let held = Candidate { state, ..candidate(8, HERE, 50) };
            ends.held.insert(socket("127.0.0.1").endpoints, vec![held]);
            ends.looked_up.insert(7, Some(DiagSocket { is_shut_for_reading, ..listed(state) }));
            let found = ends.find(&socket("127.0.0.1"), 50);
            matches!(found, Some(FoundEnd::Held { is_shut_for_reading: true, .. }))
        };
        assert!(is_shut(State::FinWait2, true) && is_shut(State::FinWait1, true));
        assert!(!is_shut(State::FinWait2, false), "it waits for the answer");
        assert!(!is_shut(State::CloseWait, true), "by the FIN of its peer");
    }

    #[test]
    fn of_a_held_end_only_one_that_may_wait_is_looked_up() {
        let is_looked_up = |state| {
            let mut ends = OtherEnds::default();
            let held = Candidate { state, ..candidate(8, HERE, 50) };
            ends.held.insert(socket("127.0.0.1").endpoints, vec![held]);
            let socket = socket("127.0.0.1");
            let wanted =
                WantedEnd { socket, flavour: TcpFlavour::Tcp, fin_sequence: 50, is_held: true, age_ns: 0 };
            !ends.first_unclear(vec![wanted]).is_empty()
        };
        assert!(is_looked_up(State::FinWait2) && is_looked_up(State::FinWait1));
        assert!(!is_looked_up(State::CloseWait));
    }

    #[test]
    fn what_is_gone_from_this_host_is_told_from_what_is_elsewhere() {
        let find = |address: &str, looked_up: Option<Option<DiagSocket>>| {
            let mut ends = OtherEnds::default();
            ends.looked_up.extend(looked_up.map(|found| (7, found)));
            ends.find(&socket(address), 50).map(|found| matches!(found, FoundEnd::Gone))
        };
        assert_eq!(find("127.0.0.1", Some(None)), Some(true));
        assert_eq!(find("127.0.0.1", Some(Some(listed(State::Listen)))), Some(true), "the listener remains");
        assert_eq!(find("127.0.0.1", Some(Some(listed(State::FinWait2)))), Some(false));
        assert_eq!(find("127.0.0.1", None), None, "nobody looked");
        let mut elsewhere = socket("10.0.0.1");
        elsewhere.endpoints.remote = "192.0.2.1:4000".parse().unwrap();
        let mut ends = OtherEnds::default();
        ends.looked_up.insert(7, None);
        assert!(ends.find(&elsewhere, 50).is_none());
    }
}
