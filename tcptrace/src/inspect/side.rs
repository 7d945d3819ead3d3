//! Which side made a connection, as far as a descriptor of it tells. Pure.

use tcptrace_ebpf::record::{self, HolderRecord};

use crate::model::{connection_side::ConnectionSide, state::State};

/// The first port of the range that Linux chooses from (`ip_local_port_range`), unless it was set otherwise.
const EPHEMERAL: u16 = 32_768;

/// Which side made the connection, as its port tells: the kernel chose it for connect(), or somebody bound it. The latter
/// is the listener, unless it looks like a client that binds its own address and connects to a service.
pub(super) fn side(record: &HolderRecord) -> Option<ConnectionSide> {
    let may_be_bound_client = record.lport >= EPHEMERAL && record.rport < EPHEMERAL;
    match record.connection {
        record::CONNECTED_FROM_HERE => Some(ConnectionSide::Connected),
        record::CONNECTED if record.state != State::Close.number() && !may_be_bound_client => {
            Some(ConnectionSide::Accepted)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    #[test]
    fn a_port_that_was_bound_is_a_listeners_unless_it_looks_like_a_clients() {
        let told = |connection, lport, rport| {
            side(&HolderRecord { connection, lport, rport, ..HolderRecord::new_zeroed() })
        };
        assert_eq!(told(record::CONNECTED_FROM_HERE, 40_000, 443), Some(ConnectionSide::Connected));
        assert_eq!(told(record::CONNECTED, 443, 40_000), Some(ConnectionSide::Accepted));
        assert_eq!(told(record::CONNECTED, 40_000, 50_000), Some(ConnectionSide::Accepted));
        assert_eq!(told(record::CONNECTED, 40_000, 443), None, "it may have bound its own address");
        assert_eq!(told(record::NEVER_CONNECTED, 443, 0), None);
    }
}
