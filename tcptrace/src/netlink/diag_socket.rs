//! A socket as sock_diag describes it, and what the kernel finds it by. Values only.

use crate::model::{
    activity::{ActivityTimes, Sending},
    connection_side::ConnectionSide,
    endpoints::{Endpoint, Endpoints},
    interface::Interface,
    socket::{Socket, TcpFlavour},
};

#[cfg(test)]
use crate::model::state::State;

/// The key by which the kernel finds a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketId {
    pub cookie: u64,
    pub local: Endpoint,
    pub remote: Endpoint,
    /// The index of the interface that the socket is bound to; 0 when none. The kernel does not find a bound socket
    /// without it.
    pub interface: u32,
}

impl SocketId {
    /// Of a socket that has a cookie.
    pub(crate) fn of(socket: &Socket) -> Option<Self> {
        let Endpoints { local, remote } = socket.endpoints;
        let interface = socket.endpoints.interface().map_or(0, Interface::index);
        Some(Self { cookie: socket.cookie?, local, remote, interface })
    }

    /// Instead of a cookie: whatever socket has these addresses. `INET_DIAG_NOCOOKIE` of
    /// include/uapi/linux/inet_diag.h, twice.
    pub(crate) const ANY_COOKIE: u64 = u64::MAX;
}

/// A socket as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiagSocket {
    /// The table that it is in.
    pub flavour: TcpFlavour,
    /// Identifies the socket and is never reused. Same number as SO_COOKIE and `bpf_get_socket_cookie` return.
    pub cookie: u64,
    /// 4 or 6. An IPv6 socket with an IPv4-mapped peer counts as 4 and has IPv4 addresses.
    pub family: u8,
    pub local: Endpoint,
    /// Unspecified and 0 for a listener.
    pub remote: Endpoint,
    /// The kernel's number for the state (8 is CLOSE_WAIT).
    pub state: u8,
    /// Inode number in sockfs, as in `/proc/PID/fd` (`socket:[N]`). 0 without a descriptor: never accepted,
    /// closed, or an MPTCP subflow.
    pub inode: u32,
    /// The creator's effective user id (`sk_uid`).
    pub uid: u32,
    /// Unread bytes; the peer's FIN counts as one (`tcp_diag_get_info`: `rcv_nxt - copied_seq`). 1 is a FIN
    /// alone. 0 after a FIN means that the FIN was consumed: by a read that returned end of file or, if the
    /// FIN shared a buffer with data (same segment, or both arrived before the read), by the read that took
    /// the last of that data (`tcp_recvmsg_locked`, `found_fin_ok`). For a listener: connections that wait
    /// for accept(). For MPTCP: the *memory* of unread data, without the FIN (`mptcp_diag_get_info`), so 0
    /// says nothing about the end of file.
    pub recv_q: u32,
    /// Bytes that the peer has not acknowledged, including our FIN. For a listener: the backlog. For MPTCP: memory, as
    /// above.
    pub send_q: u32,
    /// The index of the interface set by SO_BINDTODEVICE; 0 when none.
    pub interface: u32,
    /// The cgroup v2 that the socket was created in: the inode number of its directory. `None` before Linux
    /// 5.9, without cgroups, and for minisockets.
    pub cgroup_id: Option<u64>,
    /// Recent activity. `None` unless requested, and for minisockets.
    pub times: Option<ActivityTimes>,
    /// How its sending side fares. `None` unless times were requested, and for minisockets and MPTCP.
    pub sending: Option<Sending>,
    /// All bytes that have arrived, read or not (`tcpi_bytes_received`, Linux 4.1). `None` likewise.
    pub received_bytes: Option<u64>,
    /// All bytes that were sent, each once (`tcpi_bytes_sent` less `tcpi_bytes_retrans`, Linux 4.19). `None` likewise.
    pub sent_bytes: Option<u64>,
    /// Which side made the connection. `None` unless times were requested, while something is not acknowledged, before Linux
    /// 4.19, and for minisockets and MPTCP.
    pub side: Option<ConnectionSide>,
    /// Whether both ends use timestamps (RFC 7323). `None` unless times were requested, and for minisockets and MPTCP.
    pub timestamps: Option<bool>,
    /// Whether the timer of keep-alive probes runs. It does not while data waits to be acknowledged.
    pub keeps_alive: bool,
    /// Whether it receives nothing any more: the peer's FIN has come, or its process has shut it down for reading or closed
    /// it. False where the kernel does not tell, as of minisockets and MPTCP.
    pub is_shut_for_reading: bool,
    /// Whether it is one path of an MPTCP connection. Applications hold the connection, which is listed as
    /// [`TcpFlavour::Mptcp`]. The kernel reports this only with CAP_NET_ADMIN.
    pub is_mptcp_subflow: bool,
    /// Whether an IPv6 socket leaves IPv4 alone (`IPV6_V6ONLY`): of those that listen or are in CLOSE.
    pub is_v6_only: Option<bool>,
    /// Milliseconds until a *minisocket* is gone; `None` for a full socket. A minisocket is what the kernel keeps of a
    /// socket in TIME_WAIT, or in FIN_WAIT2 after close(); no process holds it.
    pub minisocket_left_ms: Option<u32>,
}

#[cfg(test)]
impl DiagSocket {
    /// An example of a TCP socket in a state, of which nothing more is known.
    pub(crate) fn example(cookie: u64, state: State, local: Endpoint, remote: Endpoint) -> Self {
        Self {
            flavour: TcpFlavour::Tcp,
            cookie,
            family: if local.ip().is_ipv4() { 4 } else { 6 },
            local,
            remote,
            state: state as u8,
            inode: 0,
            uid: 0,
            recv_q: 0,
            send_q: 0,
            interface: 0,
            cgroup_id: None,
            times: None,
            sending: None,
            received_bytes: None,
            sent_bytes: None,
            side: None,
            timestamps: None,
            keeps_alive: false,
            is_shut_for_reading: false,
            is_mptcp_subflow: false,
            is_v6_only: None,
            minisocket_left_ms: None,
        }
    }
}

impl DiagSocket {
    /// The socket as records name it; `netns` is the namespace that was asked.
    #[must_use]
    pub(crate) fn named(&self, netns: u32) -> Socket {
        Socket {
            cookie: Some(self.cookie),
            netns: Some(netns),
            endpoints: Endpoints { local: self.local, remote: self.remote },
        }
    }

    /// The key of this socket.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn id(&self) -> SocketId {
        SocketId { cookie: self.cookie, local: self.local, remote: self.remote, interface: self.interface }
    }
}
