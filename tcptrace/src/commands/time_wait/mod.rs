//! TIME_WAIT: what fills the table of a network namespace, when the ports of a destination run out, who
//! closed first, and what may be advised about it. Pure: it is told what the kernel lists, and the time.
//!
//! A socket that was closed here first is replaced by a *minisocket*: in FIN_WAIT2 until the peer has
//! closed as well (`tcp_fin_timeout` at most), then in TIME_WAIT for a minute, a constant. Nobody holds it, and no
//! descriptor leads to it.

pub(crate) mod arguments;
pub(crate) mod assemble;
pub(crate) mod candidates;
pub(crate) mod closers;
pub(crate) mod closings;
pub(crate) mod group;
pub(crate) mod live;
pub(crate) mod look;
pub(crate) mod run;
pub(crate) mod table;
