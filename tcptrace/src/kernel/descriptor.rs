//! What a descriptor of a TCP socket tells: interprets the fields that an iterator read. Pure.

use tcptrace_ebpf::{
    filter::on_interface,
    record::{AF_INET6, HolderRecord, IPPROTO_MPTCP, PROBES_WINDOW, TcpFields, bytes, mapped},
};

use crate::model::{endpoints::Endpoints, pid::Pid, state::State};

/// A descriptor of a process that refers to a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketDescriptor {
    /// What the kernel knows the socket by.
    pub known_by: KnownBy,
    pub netns: u32,
    /// Link-local addresses are on the interface that the socket is bound to.
    pub endpoints: Endpoints,
    pub state: State,
    pub is_mptcp: bool,
    pub holder: Pid,
    pub fd: u32,
    /// Where the connection came from.
    pub origin: ConnectionOrigin,
    /// Whether connections wait in the accept queue of a listener.
    pub has_backlog: bool,
    /// The pending error, an errno; 0 when there is none, or none any more.
    pub error: u16,
    /// The sequence number that the FIN of the peer left, for a socket in CLOSE_WAIT; that the socket's own FIN
    /// left, in FIN_WAIT1 and FIN_WAIT2; else 0. Both ends of one connection have the same.
    pub fin_sequence: u32,
    /// Whether the peer of a socket in CLOSE_WAIT has acknowledged something since its FIN: this side sent data (or a
    /// keepalive probe) after the end of file. `None` when not known.
    pub has_answered_since_fin: Option<bool>,
    /// Bytes that wait because the window of the peer is closed; 0 when none do.
    pub blocked_bytes: u32,
}

/// What a socket is known by as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownBy {
    Cookie(u64),
    /// It has no cookie: its address in the kernel.
    Address(u64),
}

impl KnownBy {
    /// The cookie, if it has one.
    pub(crate) fn cookie(self) -> Option<u64> {
        match self {
            Self::Cookie(cookie) => Some(cookie),
            Self::Address(_) => None,
        }
    }

    /// A number that no other socket has.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Cookie(number) | Self::Address(number) => number,
        }
    }
}

/// Where a connection came from, as far as the socket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionOrigin {
    /// It was never connected, or was disconnected for a new connection. Also for MPTCP, where it is not known.
    None,
    /// Accepted, or connected by this side from a port that it chose itself.
    Port,
    /// Connected by this side, from a port that the kernel chose.
    ChosenPort,
}

impl SocketDescriptor {
    /// `None` for a state that no TCP socket has.
    pub(super) fn read(record: &HolderRecord) -> Option<Self> {
        let state = State::from_number(record.state)?;
        let is_mptcp = record.protocol == IPPROTO_MPTCP;
        let (laddr, raddr) = if u16::from(record.family) == AF_INET6 {
            (record.laddr_v6, record.raddr_v6)
        } else {
            (mapped(record.laddr), mapped(record.raddr))
        };
        let on_link = |address| bytes(on_interface(address, record.interface));
        // The kernel clears `skc_num` at the end of a connection, but not `inet_sport`.
        let lport = if state == State::Close { u16::from_be(record.tcp.sport) } else { record.lport };
        let tcp = &record.tcp;
        Some(Self {
            known_by: match record.cookie {
                0 => KnownBy::Address(record.sock),
                cookie => KnownBy::Cookie(cookie),
            },
            netns: record.netns,
            endpoints: Endpoints::new(on_link(laddr), lport, on_link(raddr), u16::from_be(record.rport)),
            state,
            is_mptcp,
            holder: Pid::from_wire(record.pid),
            fd: record.fd,
            origin: origin(tcp, record.rport),
            has_backlog: state == State::Listen && record.backlog != 0,
            // An errno is at most 4095 (`MAX_ERRNO` of include/linux/err.h).
            error: u16::try_from(record.error).unwrap_or(0),
            fin_sequence: match state {
                State::CloseWait => tcp.rcv_nxt,
                State::FinWait1 | State::FinWait2 => tcp.snd_nxt,
                _ => 0,
            },
            // `snd_wl1` is the sequence number of the last segment that updated the send window. The FIN and the segments
            // before it have sequence numbers below `rcv_nxt`. A later acknowledgment has `rcv_nxt` itself, and always
            // updates the window, because its sequence number is new (`tcp_may_update_window` of net/ipv4/tcp_input.c).
            has_answered_since_fin: (!is_mptcp)
                .then_some(state == State::CloseWait && tcp.snd_wl1 == tcp.rcv_nxt),
            blocked_bytes: if tcp.timer == PROBES_WINDOW {
                tcp.write_seq.wrapping_sub(tcp.snd_una)
            } else {
                0
            },
        })
    }
}

/// connect(2) with AF_UNSPEC ends a connection and leaves no port of the peer (`tcp_disconnect`): such a socket waits for the
/// next connection, as a new one does.
fn origin(tcp: &TcpFields, rport: u16) -> ConnectionOrigin {
    if tcp.rcv_nxt == 0 || rport == 0 {
        return ConnectionOrigin::None;
    }
    // A port that connect() chose is shared with no socket that was bound: `__inet_hash_connect` of
    // net/ipv4/inet_hashtables.c marks it so.
    if tcp.port_reuse < 0 { ConnectionOrigin::ChosenPort } else { ConnectionOrigin::Port }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use tcptrace_ebpf::record::joined;
    use zerocopy::FromZeros as _;

    use super::*;

    fn record(state: State) -> HolderRecord {
        HolderRecord {
            cookie: 7,
            sock: 99,
            laddr: u32::from_ne_bytes([127, 0, 0, 1]),
            raddr: u32::from_ne_bytes([127, 0, 0, 2]),
            lport: 443,
            rport: 40_000u16.to_be(),
            protocol: 6,
            family: 2,
            state: state.number(),
            tcp: TcpFields { rcv_nxt: 5, snd_nxt: 6, sport: 444u16.to_be(), ..TcpFields::NONE },
            ..HolderRecord::new_zeroed()
        }
    }

    fn read(record: HolderRecord) -> SocketDescriptor {
        SocketDescriptor::read(&record).unwrap()
    }

    #[test]
    fn the_family_tells_which_addresses_count() {
        let read = |record| read(record).endpoints;
        let v4 = record(State::CloseWait);
        let at = |address: [u8; 4], port| (address, port).into();
        assert_eq!(
            read(v4),
            Endpoints { local: at([127, 0, 0, 1], 443), remote: at([127, 0, 0, 2], 40_000) }
        );
        let loopback = joined([0, 0, 0, 1u32.to_be()]);
        let v6 = HolderRecord { family: 10, laddr_v6: loopback, raddr_v6: loopback, ..v4 };
        let one = bytes(loopback);
        assert_eq!(read(v6), Endpoints::new(one, 443, one, 40_000));
    }

    #[test]
    fn after_the_end_of_a_connection_its_port_is_where_the_kernel_leaves_it() {
        let closed = HolderRecord { lport: 0, ..record(State::Close) };
        assert_eq!(read(closed).endpoints.local.port(), 444);
    }

    #[test]
    fn a_socket_without_a_cookie_is_known_by_its_address() {
        assert_eq!(read(record(State::Listen)).known_by, KnownBy::Cookie(7));
        let nameless = HolderRecord { cookie: 0, ..record(State::Listen) };
        assert_eq!(read(nameless).known_by, KnownBy::Address(99));
        assert_eq!(SocketDescriptor::read(&HolderRecord { state: 77, ..nameless }), None);
    }

    #[test]
    fn both_ends_tell_the_sequence_number_of_a_fin() {
        let told = [State::CloseWait, State::FinWait2, State::FinWait1, State::Established]
            .map(|state| read(record(state)).fin_sequence);
        assert_eq!(told, [5, 6, 6, 0]);
    }

    #[test]
    fn an_acknowledgment_since_the_fin_moved_the_window() {
        let told = |state, snd_wl1, protocol| {
            let of_state = record(state);
            let tcp = TcpFields { snd_wl1, ..of_state.tcp };
            read(HolderRecord { tcp, protocol, ..of_state }).has_answered_since_fin
        };
        assert_eq!(told(State::CloseWait, 5, 6), Some(true));
        assert_eq!(told(State::CloseWait, 4, 6), Some(false));
        assert_eq!(told(State::Established, 5, 6), Some(false));
        assert_eq!(told(State::CloseWait, 5, IPPROTO_MPTCP), None);
    }

    #[test]
    fn the_port_tells_where_a_connection_came_from() {
        let told = |rcv_nxt, port_reuse, rport| {
            let tcp = TcpFields { rcv_nxt, port_reuse, ..TcpFields::NONE };
            read(HolderRecord { tcp, rport, ..record(State::Close) }).origin
        };
        assert_eq!(told(1, -1, 1), ConnectionOrigin::ChosenPort);
        assert_eq!(told(1, 1, 1), ConnectionOrigin::Port);
        assert_eq!(told(1, -1, 0), ConnectionOrigin::None, "disconnected for a new connection");
        assert_eq!(told(0, -1, 1), ConnectionOrigin::None, "no segment of a peer yet");
    }

    #[test]
    fn bytes_wait_while_a_closed_window_is_probed() {
        let told = |timer| {
            let tcp = TcpFields { timer, write_seq: 3, snd_una: u32::MAX, ..TcpFields::NONE };
            read(HolderRecord { tcp, ..record(State::Established) }).blocked_bytes
        };
        assert_eq!((told(PROBES_WINDOW), told(1)), (4, 0));
    }
}
