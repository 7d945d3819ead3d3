//! Encodes requests to sock_diag. Pure: sends nothing.

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader};
use netlink_packet_sock_diag::{
    SOCK_DIAG_BY_FAMILY,
    constants::{AF_INET, AF_INET6, AF_UNSPEC, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};

use super::diag_socket;
use crate::model::{socket::TcpFlavour, state::StateSet};

/// The message type of the older request (`include/uapi/linux/inet_diag.h`), the only one that covers both
/// families in one pass over the host's hash table.
pub(super) const TCPDIAG_GETSOCK: u16 = 18;
/// The message type that ends a socket (`include/uapi/linux/sock_diag.h`, Linux 4.5).
const SOCK_DESTROY: u16 = 21;
/// The attribute that carries a protocol number too wide for a byte, since Linux 5.9 (`inet_diag.h`).
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const IPPROTO_MPTCP: u32 = 262;
/// The protocol byte sent along with that attribute. A kernel that does not know the attribute reads only the byte: no
/// protocol has this number, so it answers ENOENT instead of listing something else.
const NO_PROTOCOL: u8 = 254;

/// One pass over the kernel's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// The older request: both families.
    BothFamilies,
    /// IPv4 sockets only.
    V4,
    /// IPv6 sockets only, including IPv4-mapped addresses.
    V6,
}

impl Pass {
    fn family(self) -> u8 {
        match self {
            Self::BothFamilies => AF_UNSPEC,
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }
}

/// A request to list the sockets in `states`.
pub(super) fn dump(
    pass: Pass,
    flavour: TcpFlavour,
    states: StateSet,
    with_times: bool,
    sequence: u32,
) -> Vec<u8> {
    let extensions = extensions(with_times);
    if pass == Pass::BothFamilies && flavour == TcpFlavour::Tcp {
        return legacy_dump(extensions.bits(), states, sequence);
    }
    let request = InetRequest {
        family: pass.family(),
        protocol: protocol_byte(flavour),
        extensions,
        states: StateFlags::from_bits_retain(states.bits()),
        socket_id: SocketId::new_v4(),
    };
    let mut payload = payload(&request);
    if flavour == TcpFlavour::Mptcp {
        payload.extend_from_slice(&8u16.to_ne_bytes());
        payload.extend_from_slice(&INET_DIAG_REQ_PROTOCOL.to_ne_bytes());
        payload.extend_from_slice(&IPPROTO_MPTCP.to_ne_bytes());
    }
    message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, sequence, &payload)
}

/// A request for one TCP socket: the kernel finds it by its addresses and compares the cookie
/// (`inet_diag_find_one_icsk`, then `sock_diag_check_cookie`).
pub(super) fn lookup(socket: &diag_socket::SocketId, with_times: bool, sequence: u32) -> Vec<u8> {
    let request = single(socket, extensions(with_times));
    message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, sequence, &payload(&request))
}

/// A request to end one TCP socket, which the kernel finds in the same way; answered by an
/// acknowledgment or a refusal.
pub(super) fn destroy(socket: &diag_socket::SocketId, sequence: u32) -> Vec<u8> {
    let request = single(socket, ExtensionFlags::empty());
    message(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, sequence, &payload(&request))
}

fn single(socket: &diag_socket::SocketId, extensions: ExtensionFlags) -> InetRequest {
    InetRequest {
        family: if socket.local.ip().is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions,
        states: StateFlags::from_bits_retain(StateSet::ALL.bits()),
        socket_id: SocketId {
            source_port: socket.local.port(),
            destination_port: socket.remote.port(),
            source_address: socket.local.ip(),
            destination_address: socket.remote.ip(),
            interface_id: socket.interface,
            cookie: cookie_bytes(socket.cookie),
        },
    }
}

fn extensions(with_times: bool) -> ExtensionFlags {
    if with_times { ExtensionFlags::INFO } else { ExtensionFlags::empty() }
}

fn protocol_byte(flavour: TcpFlavour) -> u8 {
    match flavour {
        TcpFlavour::Tcp => IPPROTO_TCP,
        TcpFlavour::Mptcp => NO_PROTOCOL,
    }
}

/// The kernel's `idiag_cookie`: two words in host byte order, the lower half first
/// (`sock_diag_save_cookie`).
fn cookie_bytes(cookie: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&((cookie & 0xffff_ffff) as u32).to_ne_bytes());
    bytes[4..].copy_from_slice(&((cookie >> 32) as u32).to_ne_bytes());
    bytes
}

fn payload(request: &InetRequest) -> Vec<u8> {
    let mut payload = vec![0; request.buffer_len()];
    request.emit(&mut payload);
    payload
}

/// `struct inet_diag_req`: family, two prefix lengths, extensions, socket id (48 bytes), states, and the
/// tables to dump, which the kernel ignores.
fn legacy_dump(extensions: u8, states: StateSet, sequence: u32) -> Vec<u8> {
    let mut payload = [0; 60];
    payload[0] = AF_UNSPEC;
    payload[3] = extensions;
    payload[52..56].copy_from_slice(&states.bits().to_ne_bytes());
    message(TCPDIAG_GETSOCK, NLM_F_REQUEST | NLM_F_DUMP, sequence, &payload)
}

fn message(message_type: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    let header_length = header.buffer_len();
    header.length = u32::try_from(header_length + payload.len()).unwrap_or(u32::MAX);
    header.message_type = message_type;
    header.flags = flags;
    header.sequence_number = sequence;
    let mut bytes = vec![0; header_length];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}
