//! Lists the kernel's sockets in all network namespaces of the host, or in some of them. Knows nothing of processes.

use std::{io, path::PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    host::{
        namespaces::{self, NetNamespace},
        pool as parallel,
        world::World,
    },
    model::{
        endpoints::Endpoints,
        socket::{Socket, TcpFlavour},
        state::{State, StateSet},
    },
    netlink::{self as sock_diag, DiagSocket, SockDiag, SocketId},
};

/// A network namespace of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundNamespace {
    pub netns: u32,
    /// TCP sockets in it, without minisockets; `None` if unknown.
    pub in_use: Option<u32>,
}

/// The network namespaces of the host.
#[derive(Debug)]
pub(crate) struct FoundNamespaces {
    pub namespaces: Vec<FoundNamespace>,
    /// Processes examined to find them.
    pub processes: usize,
    /// Processes and bind mounts whose namespace could not be read, for lack of rights.
    pub unreadable: usize,
}

/// What to list in a namespace.
#[derive(Debug)]
pub(crate) struct DumpJob {
    pub netns: u32,
    /// The TCP sockets to list.
    pub scope: DumpScope,
    /// Whether to list MPTCP sockets, too.
    pub with_mptcp: bool,
}

/// The sockets to list in a namespace.
#[derive(Debug)]
pub(crate) enum DumpScope {
    /// All, at the cost of a walk over the tables of the whole host.
    All,
    /// These, or all if one of them is gone.
    These(Vec<SocketId>),
}

/// Lists sockets in network namespaces. Holds no namespace between calls: one held open would outlive its container,
/// together with its network devices.
pub(crate) struct NamespaceDumper {
    world: World,
    /// The path through which each namespace was found last.
    paths: FxHashMap<u32, PathBuf>,
    has_mptcp: bool,
}

impl NamespaceDumper {
    pub(crate) fn new(world: World) -> Self {
        Self { world, paths: FxHashMap::default(), has_mptcp: true }
    }

    /// The host whose sockets are listed.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Lists sockets in the given namespaces, or in all of them.
    pub(crate) fn list(&mut self, states: StateSet, only: Option<&FxHashSet<u32>>) -> Listing {
        let job = |netns: &u32| DumpJob { netns: *netns, scope: DumpScope::All, with_mptcp: true };
        let Some(only) = only else {
            let used: Vec<u32> = self
                .find_namespaces()
                .namespaces
                .iter()
                .filter(|namespace| namespace.in_use != Some(0))
                .map(|namespace| namespace.netns)
                .collect();
            return self.fetch(states, used.iter().map(job).collect());
        };
        let mut listing = self.fetch(states, only.iter().map(job).collect());
        let missing: Vec<&u32> = only.iter().filter(|netns| !listing.answered.contains(netns)).collect();
        if !missing.is_empty() {
            // Not found yet, or the process that led to them has ended.
            self.find_namespaces();
            let again = self.fetch(states, missing.into_iter().map(job).collect());
            listing.sockets.extend(again.sockets);
            listing.answered.extend(again.answered);
        }
        listing
    }

    /// Finds the namespaces of the host.
    pub(crate) fn find_namespaces(&mut self) -> FoundNamespaces {
        let found = namespaces::discover(&self.world.proc, &self.world.run_netns);
        self.paths.clear();
        let namespace = |namespace: &NetNamespace| {
            self.paths.insert(namespace.inode, namespace.path().to_owned());
            FoundNamespace { netns: namespace.inode, in_use: namespace.tcp_in_use(&self.world.proc) }
        };
        let namespaces = found.namespaces.iter().map(namespace).collect();
        FoundNamespaces { namespaces, processes: found.processes, unreadable: found.unreadable }
    }

    /// Runs the jobs, several in parallel.
    pub(crate) fn fetch(&mut self, states: StateSet, jobs: Vec<DumpJob>) -> Listing {
        let mut listing = Listing { asked_ns: self.world.clocks.monotonic_ns(), ..Listing::default() };
        let mut failure = None;
        for job in parallel::map(jobs, |job| self.run(&job, states)) {
            match job {
                Ok(NamespaceListing { netns, sockets, has_mptcp }) => {
                    listing.sockets.extend(sockets.into_iter().map(|socket| (netns, socket)));
                    listing.answered.insert(netns);
                    self.has_mptcp &= has_mptcp;
                }
                // The namespace is gone.
                Err(error @ sock_diag::Error::Namespace { .. }) => log::debug!("{error}"),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            log::warn!("{error}");
        }
        listing
    }

    /// Opens sock_diag in a namespace, through the path where it was found last.
    pub(crate) fn open(&self, netns: u32) -> Result<SockDiag, sock_diag::Error> {
        let gone = || sock_diag::Error::Namespace {
            inode: netns,
            path: self.paths.get(&netns).cloned().unwrap_or_else(|| "nowhere".into()),
            source: io::ErrorKind::NotFound.into(),
        };
        let namespace =
            self.paths.get(&netns).and_then(|path| NetNamespace::open(path, netns)).ok_or_else(gone)?;
        SockDiag::open_in(&namespace)
    }

    fn run(&self, job: &DumpJob, states: StateSet) -> Result<NamespaceListing, sock_diag::Error> {
        let DumpJob { netns, scope, with_mptcp } = job;
        let mut diag = self.open(*netns)?;
        // MPTCP sockets are listed separately; applications do not hold the TCP sockets inside them.
        let visit = |sockets: &mut Vec<DiagSocket>, socket: DiagSocket| {
            if !socket.is_mptcp_subflow {
                sockets.push(socket);
            }
        };
        let mut sockets = Vec::new();
        let is_found = match scope {
            DumpScope::All => false,
            DumpScope::These(ids) => look_up(&mut diag, ids, states, &mut sockets)?,
        };
        if !is_found {
            let _ = diag.dump(TcpFlavour::Tcp, states, true, |socket| visit(&mut sockets, socket))?;
        }
        let mut has_mptcp = true;
        if *with_mptcp
            && self.has_mptcp
            && let Err(error) =
                diag.dump(TcpFlavour::Mptcp, states, true, |socket| visit(&mut sockets, socket))
        {
            has_mptcp = false;
            log::debug!("{error}");
        }
        Ok(NamespaceListing { netns: *netns, sockets, has_mptcp })
    }
}

struct NamespaceListing {
    netns: u32,
    sockets: Vec<DiagSocket>,
    /// Whether the kernel answers for MPTCP.
    has_mptcp: bool,
}

/// Looks up single sockets; false if one was not found. It may be gone or bound to an interface: the answer
/// is the same.
fn look_up(
    diag: &mut SockDiag,
    ids: &[SocketId],
    states: StateSet,
    sockets: &mut Vec<DiagSocket>,
) -> Result<bool, sock_diag::Error> {
    for id in ids {
        match diag.lookup(TcpFlavour::Tcp, id, true)? {
            Some(socket) if is_in(states, &socket) => sockets.push(socket),
            Some(_) => {}
            None => return Ok(false),
        }
    }
    Ok(true)
}

fn is_in(states: StateSet, socket: &DiagSocket) -> bool {
    State::from_number(socket.state).is_some_and(|state| states.contains(state))
}

/// The sockets that the kernel listed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Each with the inode number of its namespace. A socket can appear twice.
    pub sockets: Vec<(u32, DiagSocket)>,
    /// Namespaces that answered: a socket of theirs that is not listed does not exist.
    pub answered: FxHashSet<u32>,
    /// When the kernel was asked (CLOCK_MONOTONIC, nanoseconds); the answers are from then or later.
    pub asked_ns: u64,
}

/// A listing, indexed by cookie and by address.
pub(crate) struct ListingIndex {
    listed: Vec<(u32, DiagSocket)>,
    by_cookie: FxHashMap<u64, usize>,
    by_address: FxHashMap<Endpoints, usize>,
    answered: FxHashSet<u32>,
    asked_ns: u64,
}

impl ListingIndex {
    /// Indexes a listing; a socket listed twice appears once.
    pub(crate) fn new(listing: Listing) -> Self {
        let Listing { sockets: mut listed, answered, asked_ns } = listing;
        let mut by_cookie = FxHashMap::default();
        listed.retain(|(_, socket)| {
            let next = by_cookie.len();
            *by_cookie.entry(socket.cookie).or_insert(next) == next
        });
        let by_address = listed
            .iter()
            .enumerate()
            .map(|(at, (_, socket))| (Endpoints { local: socket.local, remote: socket.remote }, at))
            .collect();
        Self { listed, by_cookie, by_address, answered, asked_ns }
    }

    /// When the kernel was asked (CLOCK_MONOTONIC, nanoseconds).
    pub(crate) fn asked_ns(&self) -> u64 {
        self.asked_ns
    }

    /// All sockets, each with the inode number of its namespace.
    pub(crate) fn sockets(&self) -> &[(u32, DiagSocket)] {
        &self.listed
    }

    /// The socket, if it was listed.
    pub(crate) fn find(&self, socket: &Socket) -> Option<&(u32, DiagSocket)> {
        let at = match socket.cookie {
            Some(cookie) => self.by_cookie.get(&cookie),
            None => self.by_address.get(&socket.endpoints),
        };
        let found = self.listed.get(*at?)?;
        (socket.netns.is_none_or(|netns| netns == found.0)).then_some(found)
    }

    /// Whether the namespace answered, so that a socket of it that is not listed does not exist.
    pub(crate) fn knows_all_of(&self, netns: Option<u32>) -> bool {
        netns.is_none_or(|netns| self.answered.contains(&netns))
    }
}
