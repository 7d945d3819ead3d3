//! Asks sockets whether they have SO_REUSEADDR, SO_REUSEPORT and IPV6_V6ONLY, which sock_diag does not tell of connections: through a copy of a
//! holder's descriptor, which is closed at once. Changes nothing.

use std::path::Path;

use rustc_hash::FxHashMap;
use rustix::net::sockopt;

use super::address_uses::Sample;
use crate::{model::owner::Owner, process::descriptor::copy_socket};

/// The options of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketOptions {
    pub reuseaddr: bool,
    pub reuseport: bool,
    /// `None` for a socket of IPv4.
    pub is_v6_only: Option<bool>,
}

/// The options of those of these sockets that a process holds, by inode number; those that cannot be asked are left out.
pub(crate) fn read<'a>(
    proc_root: &Path,
    samples: impl Iterator<Item = &'a Sample>,
    holders: &FxHashMap<u32, Vec<Owner>>,
) -> FxHashMap<u32, SocketOptions> {
    let of = |sample: &Sample| {
        let owner = holders.get(&sample.inode)?.first()?;
        let copy = copy_socket(owner.process.pid, *owner.fds.first()?, sample.cookie, proc_root).ok()?;
        let reuseaddr = sockopt::socket_reuseaddr(&copy).ok()?;
        let reuseport = sockopt::socket_reuseport(&copy).ok()?;
        let is_v6_only = sockopt::ipv6_v6only(&copy).ok();
        Some((sample.inode, SocketOptions { reuseaddr, reuseport, is_v6_only }))
    };
    samples.filter_map(of).collect()
}
