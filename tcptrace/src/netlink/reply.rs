//! Decodes the kernel's answers. Pure: any bytes give a value or an error, never a panic.

use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NlasIterator, Parseable,
};
use netlink_packet_sock_diag::{
    SOCK_DIAG_BY_FAMILY,
    constants::{INET_DIAG_INFO, INET_DIAG_SHUTDOWN, INET_DIAG_SKV6ONLY},
    inet::{InetResponseHeader, Timer},
};

use super::{diag_socket::DiagSocket, request::TCPDIAG_GETSOCK};
use crate::model::{
    activity::{ActivityTimes, Sending},
    connection_side::ConnectionSide,
    endpoints::Endpoint,
    interface::Interface,
    socket::TcpFlavour,
    state::State,
};

/// Length of `struct inet_diag_msg`, after which the attributes begin.
const HEADER_LENGTH: usize = 72;
/// The offset of `idiag_expires`, which the crate drops for minisockets.
const EXPIRES_OFFSET: usize = 52;
/// Since Linux 5.9; the crate has no name for it.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// `INET_DIAG_ULP_INFO` of `include/uapi/linux/inet_diag.h`; the crate has no name for it.
const INET_DIAG_ULP_INFO: u16 = 19;
/// `INET_ULP_INFO_NAME`: the name of the protocol on top, within the former.
const INET_ULP_INFO_NAME: u16 = 1;

/// `RCV_SHUTDOWN` of `include/net/sock.h`, in the value of INET_DIAG_SHUTDOWN (Linux 3.7).
const RCV_SHUTDOWN: u8 = 1;

/// One message from the kernel.
#[derive(Debug)]
pub(super) enum Reply {
    Socket(DiagSocket),
    /// The end of a dump, with the errno it ended with (0 for success).
    Done(i32),
    /// A refusal, as errno; 0 is an acknowledgment.
    Refused(i32),
    /// Anything else, or the answer to another request.
    Other,
}

/// Splits a datagram into messages and passes each to `visit`, in order. Messages with another sequence number than
/// `sequence` are left over from an earlier request and become `Reply::Other`.
///
/// Returns whether the kernel reported that its tables changed during the dump.
pub(super) fn each_message(
    datagram: &[u8],
    sequence: u32,
    flavour: TcpFlavour,
    mut visit: impl FnMut(Reply),
) -> Result<bool, String> {
    let mut interrupted = false;
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(|error| error.to_string())?;
        let payload = message.payload();
        if message.sequence_number() == sequence {
            interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            visit(decode(message.message_type(), payload, flavour)?);
        } else {
            visit(Reply::Other);
        }
        // Messages are aligned to four bytes (NLMSG_ALIGN); the last one may lack the padding.
        let length = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(interrupted)
}

fn decode(message_type: u16, payload: &[u8], flavour: TcpFlavour) -> Result<Reply, String> {
    match message_type {
        NLMSG_DONE => Ok(Reply::Done(errno(payload).unwrap_or(0))),
        NLMSG_ERROR => Ok(Reply::Refused(errno(payload).ok_or("an error message without a code")?)),
        SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK => socket(payload, flavour).map(Reply::Socket),
        NLMSG_NOOP => Ok(Reply::Other),
        other => Err(format!("unknown message type {other}")),
    }
}

/// The kernel sends errno negated.
fn errno(payload: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(array(payload, 0)?).saturating_neg())
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_ne_bytes)
}

fn socket(payload: &[u8], flavour: TcpFlavour) -> Result<DiagSocket, String> {
    let header = InetResponseHeader::parse(payload).map_err(|error| error.to_string())?;
    let id = &header.socket_id;
    let [c0, c1, c2, c3, c4, c5, c6, c7] = id.cookie;
    let cookie = u64::from(u32::from_ne_bytes([c4, c5, c6, c7])) << 32
        | u64::from(u32::from_ne_bytes([c0, c1, c2, c3]));
    let (local, remote) = plain_addresses(id.source_address, id.destination_address);
    let interface = (id.interface_id != 0).then(|| Interface::from_parts(id.interface_id, ""));

    let mut cgroup_id = None;
    let mut times = None;
    let mut is_mptcp_subflow = false;
    let mut timestamps = None;
    let (mut sending, mut received_bytes, mut sent_bytes, mut side) = (None, None, None, None);
    let mut is_v6_only = None;
    let mut is_shut_for_reading = false;
    for attribute in NlasIterator::new(payload.get(HEADER_LENGTH..).unwrap_or_default()) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        match attribute.kind() {
            INET_DIAG_INFO => {
                times = activity_times(attribute.value(), flavour);
                timestamps = has_timestamps(attribute.value(), flavour);
                sending = sending_side(attribute.value(), header.timer.as_ref(), flavour);
                received_bytes = bytes_received(attribute.value(), flavour);
                sent_bytes = bytes_sent(attribute.value(), flavour);
                side = connection_side(attribute.value(), header.state, header.send_queue, flavour);
            }
            INET_DIAG_CGROUP_ID => cgroup_id = array(attribute.value(), 0).map(u64::from_ne_bytes),
            INET_DIAG_SKV6ONLY => is_v6_only = attribute.value().first().map(|value| *value != 0),
            INET_DIAG_SHUTDOWN => {
                is_shut_for_reading =
                    attribute.value().first().is_some_and(|value| value & RCV_SHUTDOWN != 0);
            }
            INET_DIAG_ULP_INFO => is_mptcp_subflow = runs_mptcp(attribute.value()),
            _ => {}
        }
    }
    let minisocket_left_ms =
        if header.timer == Some(Timer::TimeWait) { word(payload, EXPIRES_OFFSET) } else { None };
    Ok(DiagSocket {
        flavour,
        cookie,
        family: if local.is_ipv4() { 4 } else { 6 },
        local: Endpoint::new(local, id.source_port).on(interface),
        remote: Endpoint::new(remote, id.destination_port).on(interface),
        state: header.state,
        inode: header.inode,
        uid: header.uid,
        recv_q: header.recv_queue,
        send_q: header.send_queue,
        interface: id.interface_id,
        cgroup_id,
        times,
        sending,
        received_bytes,
        sent_bytes,
        side,
        timestamps,
        keeps_alive: matches!(header.timer, Some(Timer::KeepAlive(_))),
        is_shut_for_reading,
        is_mptcp_subflow,
        is_v6_only,
        minisocket_left_ms,
    })
}

/// Whether the protocol above a TCP socket is MPTCP. The kernel sends its name with a NUL.
fn runs_mptcp(attributes: &[u8]) -> bool {
    NlasIterator::new(attributes)
        .flatten()
        .any(|attribute| attribute.kind() == INET_ULP_INFO_NAME && attribute.value().starts_with(b"mptcp\0"))
}

/// Converts IPv4-mapped addresses to IPv4 if both ends allow it: a dual-stack listener (`[::]`) stays IPv6.
fn plain_addresses(local: IpAddr, remote: IpAddr) -> (IpAddr, IpAddr) {
    let (plain_local, plain_remote) = (local.to_canonical(), remote.to_canonical());
    match (plain_local, plain_remote) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (plain_local, plain_remote),
        // A listener bound to ::ffff:a.b.c.d has the peer `::`.
        (IpAddr::V4(_), IpAddr::V6(peer)) if peer.is_unspecified() => {
            (plain_local, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
        }
        _ => (local, remote),
    }
}

/// Reads the three times from `struct tcp_info` (all kernels) or `struct mptcp_info` (since Linux 6.10). Both
/// only grow at the end, so a short one means an older kernel.
fn activity_times(info: &[u8], flavour: TcpFlavour) -> Option<ActivityTimes> {
    let (sent, received, acknowledged) = match flavour {
        TcpFlavour::Tcp => (44, 52, 56),
        TcpFlavour::Mptcp => (84, 88, 92),
    };
    Some(ActivityTimes {
        last_data_sent_ms: word(info, sent)?,
        last_data_recv_ms: word(info, received)?,
        last_ack_recv_ms: word(info, acknowledged)?,
    })
}

/// `tcpi_retransmits` and `tcpi_probes` of `struct tcp_info`, by the timer that is set.
fn sending_side(info: &[u8], timer: Option<&Timer>, flavour: TcpFlavour) -> Option<Sending> {
    let [_, _, retransmits, probes, ..] = info else { return None };
    let is_window_closed = matches!(timer, Some(Timer::Probe(_)));
    let unanswered = if is_window_closed { *probes } else { *retransmits };
    (flavour == TcpFlavour::Tcp).then_some(Sending { is_window_closed, unanswered })
}

/// `tcpi_bytes_received` of `struct tcp_info`.
fn bytes_received(info: &[u8], flavour: TcpFlavour) -> Option<u64> {
    array(info, 128).filter(|_| flavour == TcpFlavour::Tcp).map(u64::from_ne_bytes)
}

/// `tcpi_bytes_sent` of `struct tcp_info`, without what was sent again.
fn bytes_sent(info: &[u8], flavour: TcpFlavour) -> Option<u64> {
    let count = |offset| array(info, offset).map(u64::from_ne_bytes);
    count(200).filter(|_| flavour == TcpFlavour::Tcp)?.checked_sub(count(208)?)
}

/// Who made the connection, by what `struct tcp_info` counts: `tcpi_bytes_acked` has the SYN of the side that connects
/// (`tcp_rcv_synsent_state_process`), and not that of the side that accepts (`tcp_create_openreq_child` begins behind it).
/// Once all of `tcpi_bytes_sent` is acknowledged, the SYN is the difference.
fn connection_side(info: &[u8], state: u8, send_q: u32, flavour: TcpFlavour) -> Option<ConnectionSide> {
    // The FIN of this side counts too.
    let fin = match State::from_number(state)? {
        State::Established | State::CloseWait => 0,
        State::FinWait2 => 1,
        _ => return None,
    };
    let acked = array(info, 120).map(u64::from_ne_bytes)?;
    match acked.checked_sub(bytes_sent(info, flavour)? + fin)? {
        _ if send_q != 0 => None,
        0 => Some(ConnectionSide::Accepted),
        1 => Some(ConnectionSide::Connected),
        _ => None,
    }
}

/// `tcpi_options` of `struct tcp_info`; the lowest bit is `TCPI_OPT_TIMESTAMPS`.
fn has_timestamps(info: &[u8], flavour: TcpFlavour) -> Option<bool> {
    let options = info.get(5).filter(|_| flavour == TcpFlavour::Tcp)?;
    Some(options & 1 != 0)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_connection_over_mapped_addresses_is_plain_ipv4() {
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert_eq!(plain_addresses(mapped, mapped).0, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        assert_eq!(plain_addresses(mapped, any).1, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(plain_addresses(any, any), (any, any));
    }

    #[test]
    fn an_older_kernels_short_info_gives_no_times_instead_of_wrong_ones() {
        assert_eq!(activity_times(&[1; 56], TcpFlavour::Tcp), None);
        assert_eq!(activity_times(&[1; 84], TcpFlavour::Mptcp), None);
        assert!(activity_times(&[1; 60], TcpFlavour::Tcp).is_some());
    }

    #[test]
    fn the_side_that_connected_had_its_syn_acknowledged() {
        let told = |acked: u64, sent: u64, again: u64, send_q| {
            let mut info = [0; 232];
            for (offset, count) in [(120, acked), (200, sent), (208, again)] {
                info[offset..offset + 8].copy_from_slice(&count.to_ne_bytes());
            }
            connection_side(&info, State::CloseWait.number(), send_q, TcpFlavour::Tcp)
        };
        assert_eq!(told(501, 500, 0, 0), Some(ConnectionSide::Connected));
        assert_eq!(told(500, 500, 0, 0), Some(ConnectionSide::Accepted));
        assert_eq!(told(501, 700, 200, 0), Some(ConnectionSide::Connected), "200 bytes were sent twice");
        assert_eq!(told(0, 0, 0, 0), Some(ConnectionSide::Accepted));
        assert_eq!(told(401, 500, 0, 100), None, "something is on its way");
        assert_eq!(told(600, 500, 0, 0), None);
        let of = |info: &[u8], state: State| connection_side(info, state.number(), 0, TcpFlavour::Tcp);
        assert_eq!(of(&[0; 200], State::CloseWait), None, "an older kernel");
        let mut half_closed = [0; 232];
        half_closed[120] = 2;
        assert_eq!(of(&half_closed, State::FinWait2), Some(ConnectionSide::Connected), "SYN and FIN");
        assert_eq!(of(&half_closed, State::LastAck), None);
    }

    proptest! {
        #[test]
        fn no_datagram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = each_message(&bytes, 1, TcpFlavour::Tcp, |_| {});
        }

        #[test]
        fn no_socket_payload_panics(
            family in prop_oneof![Just(2u8), Just(10u8), any::<u8>()],
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Some(first) = bytes.first_mut() {
                *first = family;
            }
            let _ = decode(SOCK_DIAG_BY_FAMILY, &bytes, TcpFlavour::Tcp);
            let _ = decode(SOCK_DIAG_BY_FAMILY, &bytes, TcpFlavour::Mptcp);
            let _ = decode(NLMSG_ERROR, &bytes, TcpFlavour::Tcp);
        }
    }
}
