//! One look at the descriptor tables of the whole host: which process holds which of the sockets in
//! question, and who listens. By the kernel's iterator, or from /proc where there is none.

use crate::model::holders::Holders;
use std::path::Path;

use rustc_hash::{FxHashMap, FxHashSet};
use tcptrace_ebpf::record::{self, HolderRecord};

use super::proc_fd;
use crate::{
    kernel::{HolderScan, LoadError},
    model::{
        endpoints::{Endpoint, Endpoints},
        socket::{Socket, TcpFlavour},
        state::{State, StateSet},
    },
    netlink::DiagSocket,
};

/// A socket that some process has a descriptor of.
#[derive(Debug)]
pub(crate) struct Held {
    /// The socket.
    pub socket: Socket,
    /// Its state when it was seen.
    pub state: State,
    /// Whether it is an MPTCP connection.
    pub is_mptcp: bool,
    /// Whether its peer is known to have answered something since its FIN.
    pub has_answered_since_fin: bool,
    /// Who holds it.
    pub holders: Holders,
}

/// Where somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address {
    netns: u32,
    local: Endpoint,
}

/// One of the sockets that listen at an address: with SO_REUSEPORT there can be many.
#[derive(Debug)]
struct Listener {
    cookie: u64,
    /// Whether connections wait for accept() in its queue.
    has_backlog: bool,
    holders: Holders,
}

/// The sockets of a namespace that some process has a descriptor of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// TCP sockets in any state but CLOSE, each counted once.
    pub held: u32,
    /// Whether connections wait for accept().
    pub has_backlog: bool,
}

/// Which sockets a look is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// Those in CLOSE_WAIT with these cookies.
    Cookies(&'a FxHashSet<u64>),
    /// All in these states; the others are counted.
    States(StateSet),
}

/// What one look found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    by_cookie: FxHashMap<u64, Held>,
    listeners: FxHashMap<Address, Vec<Listener>>,
    /// Whose queue each connection waits in, by its cookie; empty unless it had to be known.
    queues: FxHashMap<u64, Holders>,
    census: FxHashMap<u32, Census>,
}

impl Look {
    /// The socket with this cookie, if somebody holds it.
    pub(crate) fn held(&self, cookie: u64) -> Option<&Held> {
        self.by_cookie.get(&cookie)
    }

    /// Every socket in question that somebody holds.
    pub(crate) fn all_held(&self) -> impl Iterator<Item = &Held> {
        self.by_cookie.values()
    }

    /// Who listens for a connection that nobody has accepted; empty when nobody does any more.
    pub(crate) fn listeners(&self, waiting: &Socket) -> Holders {
        if let Some(holders) = waiting.cookie.and_then(|cookie| self.queues.get(&cookie)) {
            return holders.clone();
        }
        let mut all = Holders::new();
        for (pid, fds) in self.candidates(waiting).flat_map(|listener| &listener.holders) {
            all.entry(*pid).or_default().extend(fds);
        }
        all
    }

    /// Whether the connection may wait in the queue of one listener or another.
    pub(crate) fn is_ambiguous(&self, waiting: &Socket) -> bool {
        self.candidates(waiting).nth(1).is_some()
    }

    /// The sockets that listen on that very address, or else on any address: of these the ones in whose
    /// queues something waits, unless all seem empty.
    fn candidates(&self, waiting: &Socket) -> impl Iterator<Item = &Listener> {
        let addresses = waiting.endpoints.local.listened_at();
        let at = |local| self.listeners.get(&Address { netns: waiting.netns?, local });
        let found = || addresses.into_iter().filter_map(at);
        let busy = found().find(|listeners| listeners.iter().any(|listener| listener.has_backlog));
        let listeners = busy.or_else(|| found().next()).map(Vec::as_slice).unwrap_or_default();
        listeners.iter().filter(move |listener| listener.has_backlog || busy.is_none())
    }

    /// Looks into the listeners' queues, for connections of which it is not clear who has to accept them.
    ///
    /// # Errors
    /// When the kernel refuses; what is known then stays as it was.
    pub(crate) fn look_into_queues(&mut self, scan: &mut HolderScan) -> Result<(), LoadError> {
        let queues = &mut self.queues;
        scan.run_queues(|record| {
            if record.cookie != 0 {
                let holders = queues.entry(record.cookie).or_default();
                holders.entry(record.pid).or_default().push(record.fd);
            }
        })?;
        self.sort();
        Ok(())
    }

    /// What is held in a namespace; known after a look for states only.
    pub(crate) fn census(&self, netns: u32) -> Census {
        self.census.get(&netns).copied().unwrap_or_default()
    }

    /// Looks with the kernel's iterator, which sees all namespaces and containers at once.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn with_iterator(scan: &mut HolderScan, wanted: Wanted<'_>) -> std::io::Result<Self> {
        let mut look = Self::default();
        let mut counted = FxHashSet::default();
        let (states, with_listener_cookies) = match wanted {
            Wanted::Cookies(_) => (StateSet::CLOSE_WAIT.union(StateSet::LISTEN), false),
            // Those that are asked for get theirs from sock_diag anyway.
            Wanted::States(states) => (StateSet::ALL, states.contains(State::Listen)),
        };
        scan.run(states, with_listener_cookies, |record| {
            let Some(state) = State::from_number(record.state) else { return };
            let is_wanted = match wanted {
                // A connection that an MPTCP listener accepted has the listener's cookie, if that had one by then.
                Wanted::Cookies(cookies) => state != State::Listen && cookies.contains(&record.cookie),
                Wanted::States(states) => {
                    look.count(&record, state, &mut counted);
                    states.contains(state)
                }
            };
            if is_wanted {
                let held = || Held {
                    socket: socket(&record),
                    state,
                    is_mptcp: record.mptcp != 0,
                    has_answered_since_fin: record.answered_since_fin != 0,
                    holders: Holders::new(),
                };
                let held = look.by_cookie.entry(record.cookie).or_insert_with(held);
                held.holders.entry(record.pid).or_default().push(record.fd);
            }
            if state == State::Listen {
                let listener = look.listener(record.netns, socket(&record).endpoints.local, record.cookie);
                listener.has_backlog |= record.has_backlog != 0;
                listener.holders.entry(record.pid).or_default().push(record.fd);
            }
        })?;
        look.sort();
        Ok(look)
    }

    fn listener(&mut self, netns: u32, local: Endpoint, cookie: u64) -> &mut Listener {
        let listeners = self.listeners.entry(Address { netns, local }).or_default();
        let at = listeners.iter().position(|listener| listener.cookie == cookie).unwrap_or_else(|| {
            listeners.push(Listener { cookie, has_backlog: false, holders: Holders::new() });
            listeners.len() - 1
        });
        &mut listeners[at]
    }

    fn count(&mut self, record: &HolderRecord, state: State, counted: &mut FxHashSet<u64>) {
        if record.mptcp == 0 && state != State::Close && counted.insert(record.cookie) {
            let census = self.census.entry(record.netns).or_default();
            census.held += 1;
            census.has_backlog |= record.has_backlog != 0;
        }
    }

    /// Looks through /proc, by the inode numbers that sock_diag told.
    pub(crate) fn with_proc(
        proc_root: &Path,
        stuck: &[(u32, DiagSocket)],
        listening: &[(u32, DiagSocket)],
    ) -> Self {
        let wanted =
            stuck.iter().chain(listening).map(|(_, socket)| socket.inode).filter(|inode| *inode != 0);
        let scan = proc_fd::holders_by_inode(proc_root, &wanted.collect());
        let mut by_inode: FxHashMap<u32, Holders> = FxHashMap::default();
        for holder in scan.holders {
            by_inode.entry(holder.inode).or_default().entry(holder.pid).or_default().push(holder.fd);
        }
        let mut look = Self::default();
        for (netns, socket) in stuck {
            let state = State::from_number(socket.state);
            if let (Some(holders), Some(state)) = (by_inode.get(&socket.inode), state) {
                let held = Held {
                    socket: socket.named(*netns),
                    state,
                    is_mptcp: socket.flavour == TcpFlavour::Mptcp,
                    has_answered_since_fin: false,
                    holders: holders.clone(),
                };
                look.by_cookie.insert(socket.cookie, held);
            }
        }
        for (netns, socket) in listening {
            if let Some(holders) = by_inode.get(&socket.inode) {
                let listener = look.listener(*netns, socket.local, socket.cookie);
                // Of a listener it is the number of connections in its queue.
                listener.has_backlog = socket.recv_q != 0;
                listener.holders = holders.clone();
            }
        }
        look.sort();
        look
    }

    fn sort(&mut self) {
        let held = self.by_cookie.values_mut().map(|held| &mut held.holders);
        let listening = self.listeners.values_mut().flatten().map(|listener| &mut listener.holders);
        for holders in held.chain(listening).chain(self.queues.values_mut()) {
            for fds in holders.values_mut() {
                fds.sort_unstable();
                fds.dedup();
            }
        }
    }
}

fn socket(record: &HolderRecord) -> Socket {
    Socket {
        cookie: (record.is_address == 0).then_some(record.cookie),
        netns: Some(record.netns),
        endpoints: Endpoints::new(
            record::bytes(record.laddr),
            record.lport,
            record::bytes(record.raddr),
            record.rport,
        ),
    }
}
