//! `tcptrace time-wait`: what fills the TIME_WAIT of a network namespace, what takes the ports of a destination and when
//! they run out, who closed first, why bind() fails with EADDRINUSE, and what helps. Changes no setting and no socket.
//!
//! The kernel replaces a socket that this host closed first by a *minisocket*: in FIN_WAIT2 until the peer
//! has closed as well (`tcp_fin_timeout` at most), then in TIME_WAIT for a constant minute. No process holds
//! it, and no descriptor leads to it.

pub(crate) mod address_report;
pub(crate) mod address_uses;
pub(crate) mod arguments;
pub(crate) mod assemble;
pub(crate) mod closers;
pub(crate) mod closings;
pub(crate) mod group;
pub(crate) mod holders;
pub(crate) mod live;
pub(crate) mod look;
pub(crate) mod owner_counts;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod socket_options;
pub(crate) mod table;
