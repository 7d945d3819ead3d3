//! Which sockets listen, and in whose queue a connection waits that nobody has accepted. Pure.

use rustc_hash::FxHashMap;

use crate::model::{endpoints::Endpoint, holders::Holders, socket::Socket};

/// The address of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ListenAddress {
    netns: u32,
    local: Endpoint,
}

/// One of the sockets that listen at an address; SO_REUSEPORT allows many.
#[derive(Debug)]
pub(super) struct Listener {
    cookie: u64,
    /// Whether connections in its queue wait for accept().
    pub has_backlog: bool,
    pub holders: Holders,
}

/// The listeners of all network namespaces that were looked at.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_address: FxHashMap<ListenAddress, Vec<Listener>>,
}

impl Listeners {
    /// The listener with this cookie, which is added if it is new.
    pub(super) fn entry(&mut self, netns: u32, local: Endpoint, cookie: u64) -> &mut Listener {
        let listeners = self.by_address.entry(ListenAddress { netns, local }).or_default();
        let at = listeners.iter().position(|listener| listener.cookie == cookie).unwrap_or_else(|| {
            listeners.push(Listener { cookie, has_backlog: false, holders: Holders::new() });
            listeners.len() - 1
        });
        &mut listeners[at]
    }

    /// Who holds each of them.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Holders> {
        self.by_address.values().flatten().map(|listener| &listener.holders)
    }

    /// As [`Listeners::holders`], to put them in order.
    pub(super) fn holders_mut(&mut self) -> impl Iterator<Item = &mut Holders> {
        self.by_address.values_mut().flatten().map(|listener| &mut listener.holders)
    }

    /// Those that listen at the local address of a socket, or at a wildcard with its port; the closest address first.
    pub(super) fn at(&self, socket: &Socket) -> impl Iterator<Item = &Listener> {
        let mut addresses = socket.endpoints.local.listened_at().to_vec();
        // A wildcard is a wildcard of its family.
        addresses.dedup();
        let netns = socket.netns;
        let at = move |local| self.by_address.get(&ListenAddress { netns: netns?, local });
        addresses.into_iter().filter_map(at).flatten()
    }

    /// Those in whose queue the connection may wait: any with a backlog. A listener at the address itself may have come
    /// later than the connection, which then waits for the one at a wildcard. Where all seem empty, those at the closest
    /// address.
    pub(super) fn candidates(&self, waiting: &Socket) -> Vec<&Listener> {
        let busy: Vec<&Listener> = self.at(waiting).filter(|listener| listener.has_backlog).collect();
        if !busy.is_empty() {
            return busy;
        }
        let at = |local| self.by_address.get(&ListenAddress { netns: waiting.netns?, local });
        let closest = waiting.endpoints.local.listened_at().into_iter().find_map(at);
        closest.into_iter().flatten().collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::model::{endpoints::Endpoints, pid::Pid};

    const NETNS: u32 = 7;

    fn endpoint(text: &str) -> Endpoint {
        text.parse::<std::net::SocketAddr>().unwrap().into()
    }

    /// Listeners at these addresses, held by processes 1, 2 … in their order; those that are marked have a backlog.
    fn listening(at: &[(&str, bool)]) -> Listeners {
        let mut listeners = Listeners::default();
        for (pid, (local, has_backlog)) in (1..).zip(at) {
            let listener = listeners.entry(NETNS, endpoint(local), pid.into());
            listener.has_backlog = *has_backlog;
            listener.holders.insert(Pid::new(pid), vec![3]);
        }
        listeners
    }

    /// The processes in whose queue a connection to this address may wait.
    fn named(listeners: &Listeners, local: &str) -> Vec<u32> {
        let (local, remote) = (endpoint(local), endpoint("192.0.2.1:40000"));
        let socket = Socket { cookie: None, netns: Some(NETNS), endpoints: Endpoints { local, remote } };
        let found = listeners.candidates(&socket).into_iter().flat_map(|listener| listener.holders.keys());
        found.filter_map(|pid| pid.visible()).collect()
    }

    #[test]
    fn a_connection_may_wait_for_whoever_has_a_backlog() {
        let local = "10.0.0.1:80";
        for (at, expected) in [
            (&[("10.0.0.1:80", true), ("10.0.0.1:80", true), ("10.0.0.1:80", false)][..], &[1, 2][..]),
            (&[("10.0.0.1:80", true), ("0.0.0.0:80", false)], &[1]),
            (&[("10.0.0.1:80", false), ("0.0.0.0:80", true)], &[2]),
            // The later one of them at the address itself.
            (&[("10.0.0.1:80", true), ("0.0.0.0:80", true)], &[1, 2]),
            (&[("0.0.0.0:80", true), ("[::]:80", true)], &[1, 2]),
            (&[("0.0.0.0:81", true), ("10.0.0.2:80", true)], &[]),
        ] {
            assert_eq!(named(&listening(at), local), expected, "{at:?}");
        }
    }

    #[test]
    fn where_all_queues_seem_empty_the_closest_address_decides() {
        let at = [("10.0.0.1:80", false), ("0.0.0.0:80", false)];
        assert_eq!(named(&listening(&at), "10.0.0.1:80"), [1]);
        assert_eq!(named(&listening(&at), "10.0.0.9:80"), [2]);
        assert_eq!(named(&listening(&at), "[2001:db8::1]:80"), [0; 0]);
    }

    #[test]
    fn a_listener_is_no_candidate_twice() {
        for local in ["[::]:80", "0.0.0.0:80", "[2001:db8::1]:80"] {
            assert_eq!(named(&listening(&[(local, true)]), local), [1], "{local}");
        }
        assert_eq!(named(&listening(&[("[::]:80", true)]), "[2001:db8::1]:80"), [1]);
    }
}
