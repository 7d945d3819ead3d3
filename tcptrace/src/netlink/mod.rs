//! The only door to `NETLINK_SOCK_DIAG`: lists the TCP sockets of one network namespace, looks a
//! single one up by its cookie, and ends one.
//!
//! It knows nothing of processes (a socket's holders are the job of `owners`), it never changes a
//! socket but by [`SockDiag::destroy`], and it never prints.
//!
//! Kernel side: `net/core/sock_diag.c`, `net/ipv4/inet_diag.c`, `net/ipv4/tcp_diag.c`,
//! `net/mptcp/mptcp_diag.c`; layout in `include/uapi/linux/inet_diag.h` and sock_diag(7).

mod destroy;
mod error;
mod reply;
mod request;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use self::error::Error;
pub(crate) use self::socket::SockDiag;

use crate::model::socket::TcpFlavour;
use crate::model::{
    endpoints::{Endpoint, Endpoints},
    socket::Socket,
};

/// What the kernel finds one socket by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketId {
    /// The socket's cookie.
    pub cookie: u64,
    /// The address and port on this side.
    pub local: Endpoint,
    /// The peer's address and port.
    pub remote: Endpoint,
    /// The interface index that the socket is bound to; 0 when none. The kernel does not find a bound
    /// socket without it.
    pub interface: u32,
}

/// One socket as the kernel described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiagSocket {
    /// Which of the two tables it is in.
    pub flavour: TcpFlavour,
    /// The socket's cookie: its identity, never reused, the same number as SO_COOKIE and
    /// `bpf_get_socket_cookie` give.
    pub cookie: u64,
    /// 4 or 6. An IPv6 socket with an IPv4-mapped peer counts as 4, with IPv4 addresses.
    pub family: u8,
    /// The address and port on this side.
    pub local: Endpoint,
    /// The peer's address and port; unspecified and 0 for a listener.
    pub remote: Endpoint,
    /// The kernel's number of the state (8 is CLOSE_WAIT).
    pub state: u8,
    /// Inode number in sockfs, as in `/proc/PID/fd` (`socket:[N]`). 0 when no descriptor belongs to
    /// the socket: it was never accepted, or it has been closed, or it is an MPTCP subflow.
    pub inode: u32,
    /// User id of the socket's owner (`sk_uid`, the creator's effective user id).
    pub uid: u32,
    /// Bytes that lie unread, the peer's FIN counted as one (`tcp_diag_get_info`: `rcv_nxt - copied_seq`).
    /// 1 is a FIN alone. 0 after a FIN means that the FIN was consumed: by a read that returned end of
    /// file, or, when the FIN shared a buffer with data (it came in the same segment, or both were there
    /// before the read), by the read that took the last of that data (`tcp_recvmsg_locked`,
    /// `found_fin_ok`). For a listener: connections that wait for accept(). For MPTCP: the *memory* of what
    /// lies unread, without the FIN (`mptcp_diag_get_info`), so 0 says nothing about the end of file.
    pub recv_q: u32,
    /// Bytes that the peer has not acknowledged, our own FIN included. For a listener: the backlog.
    /// For MPTCP: memory, as above.
    pub send_q: u32,
    /// The interface index that the socket is bound to by SO_BINDTODEVICE; 0 when none.
    pub interface: u32,
    /// Id of the cgroup v2 that the socket was created in, which is the inode number of its directory.
    /// `None` before Linux 5.9, without cgroups, and for minisockets.
    pub cgroup_id: Option<u64>,
    /// When something last happened on the socket. `None` unless asked for, and for minisockets.
    pub times: Option<ActivityTimes>,
    /// Whether both ends have timestamps (RFC 7323). `None` unless times were asked for, and for minisockets and MPTCP.
    pub timestamps: Option<bool>,
    /// Whether it carries one path of an MPTCP connection: applications hold the connection, which is
    /// listed as [`TcpFlavour::Mptcp`]. Told to callers with CAP_NET_ADMIN only.
    pub is_mptcp_subflow: bool,
    /// Milliseconds until a *minisocket* is gone; `None` for a real socket. A minisocket is what the
    /// kernel keeps of a socket in TIME_WAIT, or in FIN_WAIT2 after close(); nobody holds it.
    pub minisocket_left_ms: Option<u32>,
}

impl DiagSocket {
    /// The socket as records speak of it; `netns` is the namespace that was asked.
    #[must_use]
    pub(crate) fn named(&self, netns: u32) -> Socket {
        Socket {
            cookie: Some(self.cookie),
            netns: Some(netns),
            endpoints: Endpoints { local: self.local, remote: self.remote },
        }
    }

    #[cfg(test)]
    /// What to look this very socket up by.
    #[must_use]
    pub(crate) fn id(&self) -> SocketId {
        SocketId { cookie: self.cookie, local: self.local, remote: self.remote, interface: self.interface }
    }
}

/// How long ago something happened on a socket, in milliseconds (`struct tcp_info`; the kernel counts
/// in jiffies, 1 to 10 ms, in 32 bits: ages wrap around after 49 days at 1000 Hz).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActivityTimes {
    /// Since the last segment with data was sent; since the connection was made when none was.
    pub last_data_sent_ms: u32,
    /// Since the last segment with data came in; for TCP meaningless (huge) when none did.
    pub last_data_recv_ms: u32,
    /// Since the last segment with an acknowledgment came in, which every segment after the SYN is.
    pub last_ack_recv_ms: u32,
}
