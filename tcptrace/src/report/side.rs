//! Which side opened a connection, and so which port is the service's: a client's port is one of thousands and says
//! nothing. Pure; bounded (two bits per port).

use std::{fmt, net::IpAddr};

use serde::{Serialize, Serializer};

use crate::model::{
    endpoints::{Address, Endpoint, Endpoints},
    interface::Interface,
    state::State,
    task::OpenedHow,
    transition::Transition,
};

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// This host connected to a remote service.
    Outgoing,
    /// A peer connected to a service of this host.
    Incoming,
}

/// The remote end of connections, without ports that only number clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct Peer {
    /// Who opened the connection.
    pub side: Role,
    /// The peer's address.
    #[serde(flatten)]
    pub raddr: PeerAddress,
    /// The service's port: the peer's when outgoing, this host's when incoming.
    pub service_port: u16,
}

/// An address, as records have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PeerAddress(pub Address);

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct PeerAddressFields {
            raddr: IpAddr,
            interface: Option<Interface>,
        }
        PeerAddressFields { raddr: self.0.ip(), interface: self.0.interface() }.serialize(serializer)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Role::Outgoing => Endpoint::new(self.raddr.0, self.service_port).fmt(formatter),
            Role::Incoming => write!(formatter, "{} to port {}", self.raddr.0, self.service_port),
        }
    }
}

/// The ports of a host that reveal the direction of its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sides {
    /// Local ports that accepted connections.
    accepting: PortSet,
    /// Remote ports that were connected to.
    connected: PortSet,
}

#[derive(Clone, Debug)]
struct PortSet(Vec<u64>);

impl Default for PortSet {
    fn default() -> Self {
        Self(vec![0; 1 << 10])
    }
}

impl PortSet {
    fn insert(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
    }

    fn contains(&self, port: u16) -> bool {
        self.0.get(usize::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 == 1)
    }
}

impl Sides {
    /// Learns from a transition.
    pub(crate) fn observe(&mut self, transition: &Transition) {
        let Endpoints { local, remote } = &transition.socket.endpoints;
        match (transition.old_state, transition.new_state) {
            (State::SynRecv, _) | (_, State::Listen) => self.accepting.insert(local.port()),
            (State::SynSent, State::Established) => self.connected.insert(remote.port()),
            _ => {}
        }
    }

    /// The peer of a socket. If nobody saw how it was opened, the lower port counts as the service's.
    pub(crate) fn peer(&self, endpoints: &Endpoints, opened: Option<OpenedHow>) -> Peer {
        let Endpoints { local, remote } = endpoints;
        let side = match opened {
            Some(OpenedHow::Connect) => Role::Outgoing,
            Some(OpenedHow::Accept) => Role::Incoming,
            None => match (self.connected.contains(remote.port()), self.accepting.contains(local.port())) {
                (true, false) => Role::Outgoing,
                (false, true) => Role::Incoming,
                _ if remote.port() <= local.port() => Role::Outgoing,
                _ => Role::Incoming,
            },
        };
        let service_port = if side == Role::Outgoing { remote.port() } else { local.port() };
        Peer { side, raddr: PeerAddress(remote.address()), service_port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::transition;

    fn ends(local: u16, remote: u16) -> Endpoints {
        Endpoints { local: ([10, 0, 0, 1], local).into(), remote: ([10, 0, 0, 2], remote).into() }
    }

    #[test]
    fn a_service_is_known_by_what_was_seen_and_else_by_the_lower_port() {
        let mut sides = Sides::default();
        assert_eq!(sides.peer(&ends(50_000, 5432), None).to_string(), "10.0.0.2:5432");
        assert_eq!(sides.peer(&ends(8080, 50_000), None).to_string(), "10.0.0.2 to port 8080");
        // A service above the client's port, seen accepting; and one seen being connected to.
        sides.observe(&transition(1, 0, State::SynRecv, State::Established, ends(60_000, 40_000)));
        assert_eq!(sides.peer(&ends(60_000, 40_001), None).side, Role::Incoming);
        sides.observe(&transition(2, 0, State::SynSent, State::Established, ends(30_000, 61_000)));
        assert_eq!(sides.peer(&ends(30_001, 61_000), None).service_port, 61_000);
        assert_eq!(sides.peer(&ends(30_001, 61_000), Some(OpenedHow::Accept)).service_port, 30_001);
    }
}
