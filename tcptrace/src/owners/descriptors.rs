//! One look at the descriptor tables of the whole host: which process holds which of the sockets in
//! question, and who listens. By the kernel's iterator, or from /proc where there is none.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use rustc_hash::{FxHashMap, FxHashSet};

use super::proc_fd;
use crate::{
    kernel::HolderScan,
    sock_diag::DiagSocket,
    transition::{Endpoints, State, StateSet},
};

/// The descriptors of each process, ascending.
pub type Holders = BTreeMap<u32, Vec<u32>>;

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Its namespace.
    pub netns: u32,
    /// The address it listens on.
    pub local: SocketAddr,
}

/// What one look found.
#[derive(Debug, Default)]
pub struct Look {
    by_cookie: FxHashMap<u64, Holders>,
    listeners: FxHashMap<Listener, Holders>,
}

impl Look {
    /// Who holds the socket with this cookie.
    pub fn holders(&self, cookie: u64) -> Option<&Holders> {
        self.by_cookie.get(&cookie)
    }

    /// Who listens for connections to `local`: on that very address, or else on any address.
    pub fn listeners(&self, netns: u32, local: SocketAddr) -> Option<&Holders> {
        let any_v4 = SocketAddr::from(([0, 0, 0, 0], local.port()));
        let any_v6 = SocketAddr::from(([0u16; 8], local.port()));
        let candidates = if local.is_ipv4() { [local, any_v4, any_v6] } else { [local, any_v6, any_v6] };
        candidates.into_iter().find_map(|local| self.listeners.get(&Listener { netns, local }))
    }

    /// Looks with the kernel's iterator, which sees all namespaces and containers at once.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub fn with_iterator(scan: &mut HolderScan, cookies: &FxHashSet<u64>) -> std::io::Result<Self> {
        let mut look = Self::default();
        scan.run(StateSet::CLOSE_WAIT.union(StateSet::LISTEN), |record| {
            let holders = if record.state == State::Listen as u8 {
                let Endpoints { local, .. } =
                    Endpoints::new(record.laddr, record.lport, record.raddr, record.rport);
                look.listeners.entry(Listener { netns: record.netns, local }).or_default()
            } else if cookies.contains(&record.cookie) {
                look.by_cookie.entry(record.cookie).or_default()
            } else {
                return;
            };
            holders.entry(record.pid).or_default().push(record.fd);
        })?;
        look.sort();
        Ok(look)
    }

    /// Looks through /proc, by the inode numbers that sock_diag told.
    pub fn with_proc(proc_root: &Path, stuck: &[(u32, DiagSocket)], listening: &[(u32, DiagSocket)]) -> Self {
        let wanted =
            stuck.iter().chain(listening).map(|(_, socket)| socket.inode).filter(|inode| *inode != 0);
        let scan = proc_fd::holders_by_inode(proc_root, &wanted.collect());
        let mut by_inode: FxHashMap<u32, Holders> = FxHashMap::default();
        for holder in scan.holders {
            by_inode.entry(holder.inode).or_default().entry(holder.pid).or_default().push(holder.fd);
        }
        let mut look = Self::default();
        for (_, socket) in stuck {
            if let Some(holders) = by_inode.get(&socket.inode) {
                look.by_cookie.insert(socket.cookie, holders.clone());
            }
        }
        for (netns, socket) in listening {
            if let Some(holders) = by_inode.get(&socket.inode) {
                let listener = Listener { netns: *netns, local: socket.local };
                let all = look.listeners.entry(listener).or_default();
                for (pid, fds) in holders {
                    all.entry(*pid).or_default().extend(fds);
                }
            }
        }
        look.sort();
        look
    }

    fn sort(&mut self) {
        for holders in self.by_cookie.values_mut().chain(self.listeners.values_mut()) {
            for fds in holders.values_mut() {
                fds.sort_unstable();
                fds.dedup();
            }
        }
    }
}
