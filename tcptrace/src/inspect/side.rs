//! Which side made a connection, as far as a descriptor of it tells. Pure.

use crate::{
    kernel::{ConnectionOrigin, SocketDescriptor},
    model::{connection_side::ConnectionSide, endpoints::Endpoints, state::State},
};

/// The first port of the range that Linux chooses from (`ip_local_port_range`), unless it was set otherwise.
const EPHEMERAL: u16 = 32_768;

/// Which side made the connection, as far as a descriptor of it tells.
pub(super) fn side(descriptor: &SocketDescriptor) -> Option<ConnectionSide> {
    of_port(descriptor.origin, &descriptor.endpoints)
        .filter(|side| *side == ConnectionSide::Connected || descriptor.state != State::Close)
}

/// Which side made the connection, as its port tells: the kernel chose it for connect(), or somebody bound it. The latter
/// is the listener, unless it looks like a client that binds its own address and connects to a service.
fn of_port(origin: ConnectionOrigin, endpoints: &Endpoints) -> Option<ConnectionSide> {
    let may_be_bound_client = endpoints.local.port() >= EPHEMERAL && endpoints.remote.port() < EPHEMERAL;
    match origin {
        ConnectionOrigin::ChosenPort => Some(ConnectionSide::Connected),
        ConnectionOrigin::Port if !may_be_bound_client => Some(ConnectionSide::Accepted),
        ConnectionOrigin::Port | ConnectionOrigin::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_bound_is_a_listeners_unless_it_looks_like_a_clients() {
        let told = |origin, lport, rport| {
            let at = |port| ([127, 0, 0, 1], port).into();
            of_port(origin, &Endpoints { local: at(lport), remote: at(rport) })
        };
        assert_eq!(told(ConnectionOrigin::ChosenPort, 40_000, 443), Some(ConnectionSide::Connected));
        assert_eq!(told(ConnectionOrigin::Port, 443, 40_000), Some(ConnectionSide::Accepted));
        assert_eq!(told(ConnectionOrigin::Port, 40_000, 50_000), Some(ConnectionSide::Accepted));
        let bound = told(ConnectionOrigin::Port, 40_000, 443);
        assert_eq!(bound, None, "it may have bound its own address");
        assert_eq!(told(ConnectionOrigin::None, 443, 0), None);
    }
}
