//! Looks at sockets that are stuck: are they still, who holds them, and why. The slow part of the tool
//! (netlink dumps, descriptor tables, /proc); it runs on a thread of its own.

use std::{path::PathBuf, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Evidence, OpenedBy, Owner,
    descriptors::{Holders, Look},
    process::{DescriptorUse, ProcessIdentity, ProcessReader},
    symbols::Symbols,
};
use crate::{
    diagnosis::{self, Facts, Verdict},
    host::clock,
    kernel::{HolderScan, OpenerMemory},
    namespaces::{self, NetNamespace},
    sock_diag::{ActivityTimes, DiagSocket, SockDiag, TcpFlavour},
    sockets::{Due, Seed, Since},
    transition::{Endpoints, KernelSocket, Opener, Socket, SocketKey, StateSet},
};

/// What was found out about a socket that was due.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its key in the table.
    pub key: SocketKey,
    /// The socket, with what the kernel told beyond the tracepoint.
    pub socket: Socket,
    /// Since when it has been in CLOSE_WAIT.
    pub since: Since,
    /// When it was looked at (CLOCK_MONOTONIC, nanoseconds).
    pub looked_at_ns: u64,
    /// False when it is no longer in CLOSE_WAIT.
    pub is_stuck: bool,
    /// Bytes not read, the FIN counting as one.
    pub recv_q: Option<u32>,
    /// Bytes not acknowledged.
    pub send_q: Option<u32>,
    /// Why it is stuck.
    pub verdict: Option<Verdict>,
    /// Who answers for it.
    pub owners: Vec<Owner>,
    /// Who opened it, when that was seen.
    pub opened_by: Option<OpenedBy>,
}

/// Where the inspector looks.
#[derive(Clone, Debug)]
pub struct Roots {
    /// /proc, except in tests.
    pub proc_root: PathBuf,
    /// Where namespaces are kept by name: /run/netns.
    pub bind_mounts: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc_root: PathBuf::from("/proc"), bind_mounts: PathBuf::from("/run/netns") }
    }
}

/// Namespaces whose netlink sockets are kept open between looks.
const KEPT_NAMESPACES: usize = 256;

/// Processes whose description is kept between looks.
const KEPT_PROCESSES: usize = 4096;

/// Finds out about stuck sockets.
pub struct Inspector {
    roots: Roots,
    reader: ProcessReader,
    /// `None` where the kernel has no such iterator: /proc is scanned then.
    scan: Option<HolderScan>,
    diags: FxHashMap<u32, SockDiag>,
    /// Descriptions, shared by all findings about the same process.
    processes: FxHashMap<u32, Arc<ProcessIdentity>>,
    /// Processes whose description is of the look that is going on.
    read_in_this_look: FxHashSet<u32>,
    has_mptcp: bool,
    /// `None` when openers are not tracked.
    openers: Option<OpenerMemory>,
    symbols: Symbols,
    /// A socket that sent something within this time is still in use.
    active_window_ms: u64,
}

impl Inspector {
    /// Prepares to look; says in the log what this host lacks for it.
    pub fn new(roots: Roots, active_window_ms: u64, openers: Option<OpenerMemory>) -> Self {
        let scan = HolderScan::new()
            .inspect_err(|error| {
                log::warn!("{error}: descriptor tables are read from /proc, which is slower")
            })
            .ok();
        Self {
            reader: ProcessReader::new(&roots.proc_root, clock::booted()),
            roots,
            scan,
            diags: FxHashMap::default(),
            processes: FxHashMap::default(),
            read_in_this_look: FxHashSet::default(),
            has_mptcp: true,
            openers,
            symbols: Symbols::default(),
            active_window_ms,
        }
    }

    /// Every socket that is in CLOSE_WAIT now, on the whole host.
    pub fn seeds(&mut self) -> Vec<Seed> {
        let mut seeds = Vec::new();
        let stuck = self.list(StateSet::CLOSE_WAIT, None);
        let now = clock::monotonic_ns();
        for (netns, socket) in stuck.sockets {
            let (since_at_latest_ns, since_at_earliest_ns) = bracket(now, socket.times);
            seeds.push(Seed { socket: describe(netns, &socket), since_at_latest_ns, since_at_earliest_ns });
        }
        seeds
    }

    /// Looks at the sockets that are due.
    pub fn inspect(&mut self, due: &[Due]) -> Vec<Finding> {
        self.read_in_this_look.clear();
        let namespaces: Option<FxHashSet<u32>> = due.iter().map(|due| due.socket.netns).collect();
        // Descriptors first, states afterwards: a socket that is closed in between is then seen to have
        // left, instead of looking like one that nobody holds.
        let known: FxHashSet<u64> = due.iter().filter_map(|due| due.socket.cookie).collect();
        let mut early = self.look_with_iterator(&known);
        let stuck = self.list(StateSet::CLOSE_WAIT, namespaces.as_ref());
        let index = Index::new(stuck);
        if known.len() < due.len() {
            // Some cookies were not known until the kernel was asked.
            let all = due.iter().filter_map(|due| index.find(&due.socket)).map(|(_, socket)| socket.cookie);
            early = self.look_with_iterator(&all.collect());
        }
        let mut look = match early {
            Some(look) => look,
            None => self.look_in_proc(due, &index, namespaces.as_ref()),
        };
        let mut findings: Vec<Finding> = due.iter().map(|due| self.find(due, &index, &look)).collect();
        // A descriptor on its way from one process to another is in no table for a moment.
        let unheld: Vec<usize> = findings
            .iter()
            .enumerate()
            .filter(|(_, finding)| finding.is_stuck && finding.verdict == Some(Verdict::NoHolder))
            .map(|(position, _)| position)
            .collect();
        if !unheld.is_empty() {
            let cookies =
                unheld.iter().filter_map(|position| findings.get(*position)?.socket.cookie).collect();
            let index = Index::new(self.list(StateSet::CLOSE_WAIT, namespaces.as_ref()));
            look = match self.look_with_iterator(&cookies) {
                Some(look) => look,
                None => self.look_in_proc(due, &index, namespaces.as_ref()),
            };
            for position in unheld {
                if let (Some(finding), Some(due)) = (findings.get_mut(position), due.get(position)) {
                    *finding = self.find(due, &index, &look);
                }
            }
        }
        findings
    }

    fn look_with_iterator(&mut self, cookies: &FxHashSet<u64>) -> Option<Look> {
        let scan = self.scan.as_mut()?;
        Look::with_iterator(scan, cookies)
            .inspect_err(|error| {
                log::warn!("iterating over descriptor tables: {error}; reading /proc instead")
            })
            .ok()
    }

    fn look_in_proc(&mut self, due: &[Due], index: &Index, namespaces: Option<&FxHashSet<u32>>) -> Look {
        let stuck: Vec<(u32, DiagSocket)> =
            due.iter().filter_map(|due| index.find(&due.socket)).cloned().collect();
        let is_unaccepted = stuck.iter().any(|(_, socket)| socket.inode == 0);
        let listening =
            if is_unaccepted { self.list(StateSet::LISTEN, namespaces).sockets } else { Vec::new() };
        Look::with_proc(&self.roots.proc_root, &stuck, &listening)
    }

    fn find(&mut self, due: &Due, index: &Index, look: &Look) -> Finding {
        let looked_at_ns = clock::monotonic_ns();
        let listed = index.find(&due.socket);
        let cookie = listed.map(|(_, socket)| socket.cookie).or(due.socket.cookie);
        let socket = listed.map_or(due.socket, |(netns, socket)| describe(*netns, socket));
        let held = cookie.and_then(|cookie| look.holders(cookie));
        let is_stuck = listed.is_some() || (!index.is_complete && held.is_some());
        let opened_by = due.kernel_socket.and_then(|socket| self.opened_by(socket));
        let opener = opened_by.as_ref().map(|opened| opened.opener);
        let mut owners = held.map(|held| self.owners(held, Evidence::FdTable, opener)).unwrap_or_default();
        let has_inode = listed.map(|(_, socket)| socket.inode != 0);
        let mut has_listener = false;
        if owners.is_empty() && has_inode == Some(false) {
            let listeners = socket.netns.and_then(|netns| look.listeners(netns, socket.endpoints.local));
            if let Some(listeners) = listeners {
                has_listener = true;
                owners = self.owners(listeners, Evidence::Listener, None);
            }
        }
        let is_held = held.is_some();
        if owners.is_empty() {
            owners.extend(opener.and_then(|opener| self.opener(&opener)));
        }
        let in_close_wait_ms = due.since.age_at(looked_at_ns).0 / 1_000_000;
        let verdict = diagnosis::verdict(&Facts {
            is_held,
            has_inode,
            has_listener,
            recv_q: listed.map(|(_, socket)| socket.recv_q),
            last_data_sent_ms: listed
                .and_then(|(_, socket)| socket.times)
                .map(|times| times.last_data_sent_ms),
            in_close_wait_ms,
            active_window_ms: self.active_window_ms,
        });
        Finding {
            key: due.key,
            socket,
            since: due.since,
            looked_at_ns,
            is_stuck,
            recv_q: listed.map(|(_, socket)| socket.recv_q),
            send_q: listed.map(|(_, socket)| socket.send_q),
            verdict,
            owners,
            opened_by,
        }
    }

    /// Who opened the socket, which must still be open.
    fn opened_by(&mut self, socket: KernelSocket) -> Option<OpenedBy> {
        let memory = self.openers.as_ref()?;
        let opener = memory.opener(socket)?;
        let stack = opener.stack.and_then(|id| {
            // The addresses mean something in the process that called, while it runs the same program.
            self.symbols.name(opener.task.pid, id, || memory.stack(id))
        });
        Some(OpenedBy { opener, stack })
    }

    fn owners(&mut self, holders: &Holders, evidence: Evidence, opener: Option<Opener>) -> Vec<Owner> {
        holders
            .iter()
            .filter_map(|(pid, fds)| {
                // A process that ended since the look holds nothing any more.
                let process = self.process(*pid)?;
                let inherited = opener.map(|opener| opener.task.pid != *pid);
                Some(Owner { process, fds: fds.clone(), inherited, evidence })
            })
            .collect()
    }

    /// The opener as an owner: under its present name if it is still that process, else as it was.
    fn opener(&mut self, opener: &Opener) -> Option<Owner> {
        let alive = self.process(opener.task.pid).filter(|process| {
            let ticks = process.start_ticks.unwrap_or(u64::MAX);
            ticks <= clock::boot_ticks_at(opener.ktime_ns)
        });
        let process = alive.unwrap_or_else(|| {
            Arc::new(ProcessIdentity::from_name(opener.task.pid, &opener.task.comm.to_text()))
        });
        Some(Owner { process, fds: Vec::new(), inherited: Some(false), evidence: Evidence::Opened })
    }

    fn process(&mut self, pid: u32) -> Option<Arc<ProcessIdentity>> {
        if self.read_in_this_look.contains(&pid) {
            return self.processes.get(&pid).cloned();
        }
        let fresh = self.reader.read(pid).ok()?;
        if self.processes.len() >= KEPT_PROCESSES {
            self.processes.clear();
            self.read_in_this_look.clear();
        }
        self.read_in_this_look.insert(pid);
        let kept = self.processes.entry(pid).or_insert_with(|| Arc::new(fresh.clone()));
        if **kept != fresh {
            *kept = Arc::new(fresh);
        }
        Some(Arc::clone(kept))
    }

    /// How many descriptors a process has open, and may have.
    pub fn descriptor_use(&self, pid: u32) -> DescriptorUse {
        self.reader.descriptor_use(pid)
    }

    /// Lists sockets in the given namespaces, or in all of them.
    fn list(&mut self, states: StateSet, only: Option<&FxHashSet<u32>>) -> Listing {
        let with_times = states == StateSet::CLOSE_WAIT;
        let mut sockets = Vec::new();
        let mut is_complete = true;
        for netns in self.namespaces(only) {
            let Some(diag) = self.diags.get_mut(&netns) else { continue };
            let mut visit = |socket: DiagSocket| {
                if !socket.is_mptcp_subflow {
                    sockets.push((netns, socket));
                }
            };
            if let Err(error) = diag.dump(TcpFlavour::Tcp, states, with_times, &mut visit) {
                log::warn!("{error}");
                self.diags.remove(&netns);
                is_complete = false;
                continue;
            }
            if self.has_mptcp
                && let Err(error) = diag.dump(TcpFlavour::Mptcp, states, with_times, &mut visit)
            {
                self.has_mptcp = false;
                log::debug!("{error}");
            }
        }
        Listing { sockets, is_complete }
    }

    /// Opens a netlink socket in each namespace that has not got one; returns those that are wanted.
    fn namespaces(&mut self, only: Option<&FxHashSet<u32>>) -> Vec<u32> {
        if let Some(only) = only
            && only.iter().all(|netns| self.diags.contains_key(netns))
        {
            return only.iter().copied().collect();
        }
        let discovery = namespaces::discover(&self.roots.proc_root, &self.roots.bind_mounts);
        let mut wanted = Vec::new();
        for namespace in &discovery.namespaces {
            if only.is_some_and(|only| !only.contains(&namespace.inode)) {
                continue;
            }
            if only.is_none() && namespace.tcp_in_use(&self.roots.proc_root) == Some(0) {
                continue;
            }
            if self.open(namespace) {
                wanted.push(namespace.inode);
            }
        }
        wanted
    }

    fn open(&mut self, namespace: &NetNamespace) -> bool {
        if self.diags.contains_key(&namespace.inode) {
            return true;
        }
        if self.diags.len() >= KEPT_NAMESPACES {
            self.diags.clear();
        }
        match SockDiag::open_in(namespace) {
            Ok(diag) => {
                self.diags.insert(namespace.inode, diag);
                true
            }
            Err(error) => {
                log::warn!("{error}");
                false
            }
        }
    }
}

fn describe(netns: u32, socket: &DiagSocket) -> Socket {
    Socket {
        cookie: Some(socket.cookie),
        netns: Some(netns),
        endpoints: Endpoints { local: socket.local, remote: socket.remote },
    }
}

/// The two bounds of the moment at which a socket entered CLOSE_WAIT before it could be seen: at the
/// latest, and at the earliest when that is known (CLOCK_MONOTONIC, nanoseconds).
fn bracket(now_ns: u64, times: Option<ActivityTimes>) -> (u64, Option<u64>) {
    /// Jiffies begin five minutes before zero: `INITIAL_JIFFIES` of include/linux/jiffies.h.
    const JIFFIES_AHEAD_MS: u64 = 300_000;
    let Some(times) = times else { return (now_ns, None) };
    let ago = |milliseconds: u32| now_ns.checked_sub(u64::from(milliseconds) * 1_000_000);
    // Every segment after the SYN acknowledges something, the FIN too: the last one came at the FIN or
    // later, because this side may still have been sending.
    let at_latest = ago(times.last_ack_recv_ms).unwrap_or(now_ns);
    // The last data came before the FIN. Where none ever came, the kernel counts from jiffies zero.
    let since_zero = (now_ns / 1_000_000).abs_diff(u64::from(times.last_data_recv_ms) + JIFFIES_AHEAD_MS);
    let at_earliest = if since_zero < 2_000 { None } else { ago(times.last_data_recv_ms) };
    (at_latest, at_earliest)
}

/// What the kernel listed.
struct Listing {
    /// Each with the inode number of its namespace.
    sockets: Vec<(u32, DiagSocket)>,
    /// Whether every namespace that was asked answered.
    is_complete: bool,
}

/// What the kernel listed, to be found by cookie or by address.
struct Index {
    listed: Vec<(u32, DiagSocket)>,
    by_cookie: FxHashMap<u64, usize>,
    by_address: FxHashMap<Endpoints, usize>,
    /// Whether a socket that is not listed is not there.
    is_complete: bool,
}

impl Index {
    fn new(Listing { sockets: listed, is_complete }: Listing) -> Self {
        let by_cookie = listed.iter().enumerate().map(|(at, (_, socket))| (socket.cookie, at)).collect();
        let by_address = listed
            .iter()
            .enumerate()
            .map(|(at, (_, socket))| (Endpoints { local: socket.local, remote: socket.remote }, at))
            .collect();
        Self { listed, by_cookie, by_address, is_complete }
    }

    fn find(&self, socket: &Socket) -> Option<&(u32, DiagSocket)> {
        let at = match socket.cookie {
            Some(cookie) => self.by_cookie.get(&cookie),
            None => self.by_address.get(&socket.endpoints),
        };
        let found = self.listed.get(*at?)?;
        (socket.netns.is_none_or(|netns| netns == found.0)).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(sent: u32, received: u32, acknowledged: u32) -> Option<ActivityTimes> {
        Some(ActivityTimes {
            last_data_sent_ms: sent,
            last_data_recv_ms: received,
            last_ack_recv_ms: acknowledged,
        })
    }

    #[test]
    fn a_socket_is_as_old_as_between_its_last_acknowledgment_and_its_last_data() {
        let now = 5_000 * SECOND;
        assert_eq!(bracket(now, times(9_000, 8_000, 3_000)), (4_997 * SECOND, Some(4_992 * SECOND)));
        assert_eq!(bracket(now, None), (now, None));
    }

    #[test]
    fn without_any_data_there_is_no_upper_bound() {
        let now = 5_000 * SECOND;
        // The kernel counts from jiffies zero, five minutes after boot …
        assert_eq!(bracket(now, times(0, 4_700_010, 3_000)).1, None);
        // … or, in the first five minutes, from before it wrapped around.
        assert_eq!(bracket(200 * SECOND, times(0, u32::MAX - 100_000, 3_000)).1, None);
    }
}
