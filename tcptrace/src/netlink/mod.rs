//! The only room that speaks `NETLINK_SOCK_DIAG`: lists the TCP sockets of one network namespace, looks up a single
//! socket by its cookie, and ends one.
//!
//! Knows nothing of processes. Changes no socket except by [`SockDiag::destroy`]. Never prints.
//!
//! Kernel side: `net/core/sock_diag.c`, `net/ipv4/inet_diag.c`, `net/ipv4/tcp_diag.c`, `net/mptcp/mptcp_diag.c`; layout
//! in `include/uapi/linux/inet_diag.h` and sock_diag(7).

mod destroy;
mod diag_socket;
mod error;
mod reply;
mod request;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    diag_socket::{DiagSocket, SocketId},
    error::Error,
    socket::SockDiag,
};
