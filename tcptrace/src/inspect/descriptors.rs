//! A scan of the descriptor tables of the whole host: which process holds which of the sockets in
//! question, and who listens. Uses the kernel's iterator, or /proc without it.

use std::{collections::BTreeMap, path::Path};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    listeners::{Listener, Listeners},
    other_ends::{HALF_CLOSED, OtherEnds},
    proc_fd,
    side::side,
};
use crate::{
    kernel::{ConnectionOrigin, HolderScan, KnownBy, LoadError, SocketDescriptor},
    model::{
        close_wait::Stuck,
        connection_side::ConnectionSide,
        coverage::{Coverage, Hidden, LookError, Operation},
        ended::EndedHow,
        holders::Holders,
        pid::Pid,
        socket::{Socket, TcpFlavour},
        state::{State, StateSet},
        task::OpenedHow,
    },
    netlink::DiagSocket,
    process::descriptor::CopyError,
};

/// A socket that a process has a descriptor for.
#[derive(Debug)]
pub(crate) struct HeldSocket {
    pub socket: Socket,
    /// Its state at the time of the scan.
    pub state: State,
    /// Whether it is an MPTCP connection.
    pub is_mptcp: bool,
    /// Whether the peer has answered a segment since its FIN; `None` when not known.
    pub has_answered_since_fin: Option<bool>,
    /// Which side made the connection, where the socket itself tells.
    pub side: Option<ConnectionSide>,
    /// The sequence number that the FIN left; 0 when not known.
    pub fin_sequence: u32,
    /// The pending error, an errno; 0 when there is none, or none any more.
    pub error: u16,
    pub holders: Holders,
}

impl HeldSocket {
    /// Why it is followed.
    pub(super) fn stuck(&self) -> Stuck {
        match self.state {
            State::Close => Stuck::Over(EndedHow::of_error(self.error)),
            _ => Stuck::InCloseWait,
        }
    }
}

/// A held socket, in whatever state, whose peer has closed its window while data waits.
#[derive(Debug)]
pub(super) struct BlockedSocket {
    pub socket: Socket,
    pub bytes: u32,
    pub holder: (Pid, u32),
}

/// Blocked sockets that are kept, at most.
const MOST_BLOCKED: usize = 1_024;

/// Counts the sockets of a namespace that a process has a descriptor for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DescriptorCount {
    /// TCP sockets in any state but CLOSE, each once.
    pub held: u32,
    /// Whether connections wait for accept().
    pub has_backlog: bool,
}

/// The sockets that a scan looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScanTarget<'a> {
    /// Sockets in CLOSE_WAIT or CLOSE with these cookies.
    Cookies(&'a FxHashSet<u64>),
    /// All sockets in these states; the others are only counted. In CLOSE, only those that have been connected.
    States(StateSet),
}

/// The states that no application should leave a socket in.
const STUCK: StateSet = StateSet::CLOSE_WAIT.union(StateSet::CLOSE);

/// In which states the other ends of the wanted sockets are.
fn other_end_states(wanted: ScanTarget<'_>) -> StateSet {
    match wanted {
        ScanTarget::States(states) if STUCK.union(states) != STUCK => {
            StateSet::LISTEN.union(StateSet::CLOSE).complement()
        }
        ScanTarget::Cookies(_) | ScanTarget::States(_) => HALF_CLOSED,
    }
}

/// The result of a scan.
#[derive(Debug, Default)]
pub(crate) struct DescriptorScan {
    by_cookie: FxHashMap<u64, HeldSocket>,
    listeners: Listeners,
    /// The holders of the listener in whose queue a connection waits, by cookie; empty unless needed.
    queues: FxHashMap<u64, Holders>,
    /// Whether the queues were read.
    has_queues: bool,
    counts: FxHashMap<u32, DescriptorCount>,
    /// A descriptor of each wanted socket that has no cookie yet, and is left out for that.
    pub(super) nameless: Vec<(Pid, u32)>,
    /// Descriptors of sockets that are blocked in writing; bounded.
    pub(super) blocked: Vec<BlockedSocket>,
    /// Sockets that may be the other ends of those in question.
    pub(super) other_ends: OtherEnds,
    /// Processes whose descriptors could not be read.
    unread: BTreeMap<u32, LookError>,
    /// Why not every process was found.
    errors: Vec<LookError>,
    /// What the scan could not see, by where it was made from.
    hidden: Option<Hidden>,
    is_of_kernel: bool,
}

impl DescriptorScan {
    /// The sequence number that the peer's FIN left; 0 when not known.
    pub(super) fn fin_sequence(&self, socket: &Socket) -> u32 {
        socket.cookie.and_then(|cookie| self.held(cookie)).map_or(0, |held| held.fin_sequence)
    }

    /// Whether every descriptor table of the host was looked at: only then does nobody hold what it does not list.
    pub(crate) fn is_complete(&self) -> bool {
        self.unread.is_empty() && self.errors.is_empty() && self.hidden.is_none()
    }

    /// Whether the kernel's iterator made it.
    pub(crate) fn is_of_kernel(&self) -> bool {
        self.is_of_kernel
    }

    /// Adds what it could not look at.
    pub(crate) fn cover(&self, coverage: &mut Coverage) {
        coverage.processes.extend(&self.unread);
        coverage.errors.extend(&self.errors);
        coverage.hidden.extend(self.hidden);
    }

    /// The socket with this cookie, if a process holds it.
    pub(crate) fn held(&self, cookie: u64) -> Option<&HeldSocket> {
        self.by_cookie.get(&cookie)
    }

    /// Every socket in question that a process holds.
    pub(crate) fn all_held(&self) -> impl Iterator<Item = &HeldSocket> {
        self.by_cookie.values()
    }

    /// Who holds each socket in question, and each listener.
    pub(super) fn all_holders(&self) -> impl Iterator<Item = &Holders> {
        let held = self.by_cookie.values().map(|held| &held.holders);
        held.chain(self.listeners.holders())
    }

    /// The listeners of a connection that was not accepted; empty if none was found.
    pub(crate) fn listeners(&self, waiting: &Socket, flavour: TcpFlavour) -> Holders {
        if let Some(holders) = waiting.cookie.and_then(|cookie| self.queues.get(&cookie)) {
            return holders.clone();
        }
        // Once the queues were read, an empty one has nobody; what waits for an MPTCP listener has another cookie there.
        let is_read = self.has_queues && flavour == TcpFlavour::Tcp;
        let candidates = self.listeners.candidates(waiting).into_iter();
        joined(candidates.filter(|listener| listener.has_backlog || !is_read))
    }

    /// Who listens at the local address of a socket, whether or not connections wait there.
    pub(super) fn listeners_at(&self, socket: &Socket) -> Holders {
        joined(self.listeners.at(socket))
    }

    /// Which side made the connection: who opened it tells, what the kernel counted, a listener at its address, or the port.
    pub(super) fn side(
        &self,
        socket: &Socket,
        opened: Option<OpenedHow>,
        listed: Option<&DiagSocket>,
    ) -> Option<ConnectionSide> {
        match opened {
            Some(OpenedHow::Accept) => Some(ConnectionSide::Accepted),
            Some(OpenedHow::Connect) => Some(ConnectionSide::Connected),
            None if listed.is_some_and(|listed| listed.side.is_some()) => listed?.side,
            None if self.listeners.at(socket).next().is_some() => Some(ConnectionSide::Accepted),
            None => self.held(socket.cookie?)?.side,
        }
    }

    /// Whether the connection can only wait in the queue of one listener. There may be several, and one at another address
    /// may get it (TPROXY).
    pub(crate) fn is_certain(&self, waiting: &Socket) -> bool {
        self.listeners.at(waiting).filter(|listener| listener.has_backlog).count() == 1
    }

    /// Reads the listeners' queues, to find out which listener has to accept a connection.
    ///
    /// # Errors
    /// When the kernel refuses; the result so far stays as it was.
    pub(crate) fn scan_queues(&mut self, scan: &mut HolderScan) -> Result<(), LoadError> {
        let queues = &mut self.queues;
        scan.run_queues(|record| {
            if record.cookie != 0 {
                let holders = queues.entry(record.cookie).or_default();
                holders.entry(Pid::from_wire(record.pid)).or_default().push(record.fd);
            }
        })?;
        self.has_queues = true;
        self.sort();
        Ok(())
    }

    /// The counts of a namespace; known only after a scan for states.
    pub(crate) fn descriptor_count(&self, netns: u32) -> DescriptorCount {
        self.counts.get(&netns).copied().unwrap_or_default()
    }

    /// The namespaces in which connections wait for accept(); known only after a scan for states.
    pub(super) fn with_backlog(&self) -> impl Iterator<Item = u32> {
        self.counts.iter().filter(|(_, count)| count.has_backlog).map(|(netns, _)| *netns)
    }

    /// Scans with the kernel's iterator, which sees all namespaces and containers.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn with_iterator(
        scan: &mut HolderScan,
        wanted: ScanTarget<'_>,
        hidden: Option<Hidden>,
    ) -> std::io::Result<Self> {
        let mut found = Self { hidden, is_of_kernel: true, ..Self::default() };
        let mut counted = FxHashSet::default();
        let (states, with_listener_cookies) = match wanted {
            ScanTarget::Cookies(_) => (STUCK.union(StateSet::LISTEN).union(HALF_CLOSED), false),
            // Listeners in question get their cookies from sock_diag anyway.
            ScanTarget::States(states) => (StateSet::ALL, states.contains(State::Listen)),
        };
        scan.run(states, with_listener_cookies, |descriptor| {
            let SocketDescriptor { known_by, state, holder, fd, .. } = descriptor;
            if descriptor.blocked_bytes != 0 && found.blocked.len() < MOST_BLOCKED {
                let bytes = descriptor.blocked_bytes;
                found.blocked.push(BlockedSocket {
                    socket: socket(&descriptor),
                    bytes,
                    holder: (holder, fd),
                });
            }
            if other_end_states(wanted).contains(state) {
                found.other_ends.add(&descriptor);
            }
            let is_wanted = match wanted {
                // A connection from an MPTCP listener has the listener's cookie, if the listener had one by then.
                ScanTarget::Cookies(cookies) => {
                    state != State::Listen && cookies.contains(&known_by.number())
                }
                ScanTarget::States(states) => {
                    found.count(&descriptor, &mut counted);
                    states.contains(state)
                        && (state != State::Close || descriptor.origin != ConnectionOrigin::None)
                }
            };
            match known_by {
                KnownBy::Address(_) if is_wanted => found.nameless.push((holder, fd)),
                KnownBy::Cookie(cookie) if is_wanted => {
                    let held = || HeldSocket {
                        socket: socket(&descriptor),
                        state,
                        is_mptcp: descriptor.is_mptcp,
                        has_answered_since_fin: descriptor.has_answered_since_fin,
                        side: side(&descriptor),
                        fin_sequence: descriptor.fin_sequence,
                        error: descriptor.error,
                        holders: Holders::new(),
                    };
                    let held = found.by_cookie.entry(cookie).or_insert_with(held);
                    held.holders.entry(holder).or_default().push(fd);
                }
                KnownBy::Address(_) | KnownBy::Cookie(_) => {}
            }
            if state == State::Listen {
                let local = socket(&descriptor).endpoints.local;
                let listener = found.listeners.entry(descriptor.netns, local, known_by.number());
                listener.has_backlog |= descriptor.has_backlog;
                listener.holders.entry(holder).or_default().push(fd);
            }
        })?;
        found.sort();
        Ok(found)
    }

    fn count(&mut self, descriptor: &SocketDescriptor, counted: &mut FxHashSet<u64>) {
        if !descriptor.is_mptcp
            && descriptor.state != State::Close
            && counted.insert(descriptor.known_by.number())
        {
            let count = self.counts.entry(descriptor.netns).or_default();
            count.held += 1;
            count.has_backlog |= descriptor.has_backlog;
        }
    }

    /// Counts processes as not read whose sockets have no cookie, because their descriptors may not be copied.
    pub(super) fn leave_out(&mut self, refused: &FxHashMap<(Pid, u32), CopyError>) {
        for (pid, fd) in &self.nameless {
            if let (Some(CopyError::System(errno)), Some(number)) = (refused.get(&(*pid, *fd)), pid.visible())
            {
                let error = LookError { operation: Operation::ReadDescriptors, errno: errno.raw_os_error() };
                self.unread.insert(number, error);
            }
        }
    }

    /// Scans /proc, by the inode numbers from sock_diag.
    pub(crate) fn with_proc(
        proc_root: &Path,
        stuck: &[(u32, DiagSocket)],
        listening: &[(u32, DiagSocket)],
        half_closed: &[(u32, DiagSocket)],
        hidden: Option<Hidden>,
    ) -> Self {
        let all = stuck.iter().chain(listening).chain(half_closed);
        let wanted = all.map(|(_, socket)| socket.inode).filter(|inode| *inode != 0);
        let scan = proc_fd::holders_by_inode(proc_root, &wanted.collect());
        let mut by_inode: FxHashMap<u32, Holders> = FxHashMap::default();
        for holder in scan.holders {
            by_inode
                .entry(holder.inode)
                .or_default()
                .entry(Pid::new(holder.pid))
                .or_default()
                .push(holder.fd);
        }
        let mut found = Self { unread: scan.unread, errors: scan.errors, hidden, ..Self::default() };
        for (netns, socket) in stuck {
            let state = State::from_number(socket.state);
            if let (Some(holders), Some(state)) = (by_inode.get(&socket.inode), state) {
                let held = HeldSocket {
                    socket: socket.named(*netns),
                    state,
                    is_mptcp: socket.flavour == TcpFlavour::Mptcp,
                    has_answered_since_fin: None,
                    side: None,
                    fin_sequence: 0,
                    error: 0,
                    holders: holders.clone(),
                };
                found.by_cookie.insert(socket.cookie, held);
            }
        }
        for (netns, socket) in half_closed {
            if let Some(holders) = by_inode.get(&socket.inode) {
                found.other_ends.add_listed(*netns, socket, holders);
            }
        }
        for (netns, socket) in listening {
            // Also one whose holders could not be read: it must not lend its backlog to another.
            let listener = found.listeners.entry(*netns, socket.local, socket.cookie);
            // For a listener this is the number of connections in its queue.
            listener.has_backlog = socket.recv_q != 0;
            listener.holders = by_inode.get(&socket.inode).cloned().unwrap_or_default();
        }
        found.sort();
        found
    }

    fn sort(&mut self) {
        self.other_ends.sort();
        let held = self.by_cookie.values_mut().map(|held| &mut held.holders);
        for holders in held.chain(self.listeners.holders_mut()).chain(self.queues.values_mut()) {
            for fds in holders.values_mut() {
                fds.sort_unstable();
                fds.dedup();
            }
        }
    }
}

/// The holders of all these listeners.
fn joined<'a>(listeners: impl Iterator<Item = &'a Listener>) -> Holders {
    let mut all = Holders::new();
    for (pid, fds) in listeners.flat_map(|listener| &listener.holders) {
        all.entry(*pid).or_default().extend(fds);
    }
    all
}

fn socket(descriptor: &SocketDescriptor) -> Socket {
    let netns = Some(descriptor.netns);
    Socket { cookie: descriptor.known_by.cookie(), netns, endpoints: descriptor.endpoints.named_in(netns) }
}
