//! Lists the kernel's sockets in all network namespaces of the host, or in some of them. Knows nothing of processes.

use std::{collections::BTreeMap, io};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    host::{
        namespaces::{self, NetNamespace},
        pool as parallel,
        world::World,
    },
    model::{
        coverage::{Coverage, LookError},
        endpoints::Endpoints,
        interface::Interface,
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
#[derive(Debug, Default)]
pub(crate) struct FoundNamespaces {
    pub namespaces: Vec<FoundNamespace>,
    /// Processes examined to find them.
    pub processes: usize,
    /// What could not be read to find them.
    pub unread: Coverage,
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
    /// Where each namespace was found last.
    known: FxHashMap<u32, NetNamespace>,
    has_mptcp: bool,
}

impl NamespaceDumper {
    pub(crate) fn new(world: World) -> Self {
        Self { world, known: FxHashMap::default(), has_mptcp: true }
    }

    /// The host whose sockets are listed.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Lists sockets in the given namespaces.
    pub(crate) fn list(&mut self, states: StateSet, only: &FxHashSet<u32>) -> Listing {
        let jobs = only.iter().map(|netns| everything(*netns)).collect();
        self.fetch(states, jobs)
    }

    /// Lists sockets in all namespaces that have any.
    pub(crate) fn list_all(&mut self, states: StateSet) -> (Listing, FoundNamespaces) {
        let found = self.find_namespaces();
        let used = found.namespaces.iter().filter(|namespace| namespace.in_use != Some(0));
        let jobs = used.map(|namespace| everything(namespace.netns)).collect();
        (self.fetch(states, jobs), found)
    }

    /// Finds the namespaces of the host.
    pub(crate) fn find_namespaces(&mut self) -> FoundNamespaces {
        let mut found = namespaces::discover(&self.world);
        let namespace = |namespace: &NetNamespace| FoundNamespace {
            netns: namespace.inode,
            in_use: namespace.tcp_in_use(&self.world.proc),
        };
        let listed = found.namespaces.iter().map(namespace).collect();
        let processes = found.processes;
        self.known = std::mem::take(&mut found.namespaces)
            .into_iter()
            .map(|namespace| (namespace.inode, namespace))
            .collect();
        let mut unread = Coverage::default();
        found.cover(&mut unread);
        FoundNamespaces { namespaces: listed, processes, unread }
    }

    /// Runs the jobs, several in parallel. Looks again for namespaces that are not where they were found: the process
    /// that led to one may have ended, while others are in it.
    pub(crate) fn fetch(&mut self, states: StateSet, jobs: Vec<DumpJob>) -> Listing {
        let mut listing = Listing { asked_ns: self.world.clocks.monotonic_ns(), ..Listing::default() };
        let gone = self.fetch_into(&mut listing, states, jobs);
        if !gone.is_empty() {
            self.find_namespaces();
            self.fetch_into(&mut listing, states, gone);
        }
        listing
    }

    /// Returns the jobs whose namespaces are not where they were found.
    fn fetch_into(&mut self, listing: &mut Listing, states: StateSet, jobs: Vec<DumpJob>) -> Vec<DumpJob> {
        let mut gone = Vec::new();
        let results = parallel::map(jobs, |job| (self.run(&job, states), job));
        for (result, job) in results {
            let netns = job.netns;
            match result {
                Ok(NamespaceListing { sockets, has_mptcp }) => {
                    listing.sockets.extend(sockets.into_iter().map(|socket| (netns, socket)));
                    listing.answered.insert(netns);
                    self.has_mptcp &= has_mptcp;
                }
                Err(error) => match error.to_look_error() {
                    None => gone.push(job),
                    Some(refused) => {
                        log::debug!("network namespace {netns}: {error}");
                        listing.refused.insert(netns, refused);
                    }
                },
            }
        }
        gone
    }

    /// A namespace, as it was found last.
    pub(crate) fn namespace(&self, netns: u32) -> Option<NetNamespace> {
        self.known.get(&netns).cloned()
    }

    /// Opens sock_diag in a namespace, where that was found last.
    pub(crate) fn open(&self, netns: u32) -> Result<SockDiag, sock_diag::Error> {
        match self.known.get(&netns) {
            Some(namespace) => SockDiag::open_in(namespace),
            None => Err(sock_diag::Error::Namespace {
                inode: netns,
                path: "nowhere".into(),
                source: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    /// Learns the names of the interfaces of the host, in all network namespaces.
    pub(crate) fn learn_interfaces(&self) {
        for namespace in namespaces::discover(&self.world).namespaces {
            for (index, name) in namespace.interfaces(&self.world.proc) {
                Interface::learn(namespace.inode, index, &name);
            }
        }
    }

    /// Learns the name of an interface.
    pub(crate) fn learn_interface(&mut self, netns: u32, index: u32) {
        let opened = self.open(netns).or_else(|_| {
            self.find_namespaces();
            self.open(netns)
        });
        match opened {
            Ok(diag) => diag.learn_interface(index),
            Err(error) => log::debug!("the name of interface {index}: {error}"),
        }
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
        leave_out_fallen_back(&mut sockets);
        Ok(NamespaceListing { sockets, has_mptcp })
    }
}

/// Leaves out the TCP sockets of connections that asked for MPTCP and got none. Linux 6.1 lists such a connection twice, once
/// for the MPTCP socket and once for the TCP socket in it. Only their common inode tells.
fn leave_out_fallen_back(sockets: &mut Vec<DiagSocket>) {
    let is_mptcp = |socket: &DiagSocket| socket.flavour == TcpFlavour::Mptcp;
    let files: FxHashSet<u32> = sockets
        .iter()
        .filter(|socket| is_mptcp(socket) && socket.inode != 0)
        .map(|socket| socket.inode)
        .collect();
    if !files.is_empty() {
        sockets.retain(|socket| is_mptcp(socket) || !files.contains(&socket.inode));
    }
}

struct NamespaceListing {
    sockets: Vec<DiagSocket>,
    /// Whether the kernel answers for MPTCP.
    has_mptcp: bool,
}

/// A job that lists all sockets of a namespace.
pub(super) fn everything(netns: u32) -> DumpJob {
    DumpJob { netns, scope: DumpScope::All, with_mptcp: true }
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
    /// Namespaces whose sockets could not be listed.
    pub refused: BTreeMap<u32, LookError>,
    /// When the kernel was asked (CLOCK_MONOTONIC, nanoseconds); the answers are from then or later.
    pub asked_ns: u64,
}

/// A listing, indexed by cookie and by address.
pub(crate) struct ListingIndex {
    listed: Vec<(u32, DiagSocket)>,
    by_cookie: FxHashMap<u64, usize>,
    by_address: FxHashMap<Endpoints, usize>,
    answered: FxHashSet<u32>,
    refused: BTreeMap<u32, LookError>,
    asked_ns: u64,
}

impl ListingIndex {
    /// Indexes a listing; a socket listed twice appears once.
    pub(crate) fn new(listing: Listing) -> Self {
        let Listing { sockets: mut listed, answered, refused, asked_ns } = listing;
        let mut by_cookie = FxHashMap::default();
        listed.retain(|(_, socket)| {
            let next = by_cookie.len();
            *by_cookie.entry(socket.cookie).or_insert(next) == next
        });
        let mut by_address = FxHashMap::default();
        for (at, (_, socket)) in listed.iter().enumerate() {
            let endpoints = Endpoints { local: socket.local, remote: socket.remote };
            by_address.insert(endpoints, at);
            // Who does not know the cookie may not know the interface either.
            if endpoints.interface().is_some() {
                by_address.insert(endpoints.on(None), at);
            }
        }
        Self { listed, by_cookie, by_address, answered, refused, asked_ns }
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
        netns.map_or(self.refused.is_empty(), |netns| self.answered.contains(&netns))
    }

    /// Whether the namespace is there, and could not be asked.
    pub(crate) fn is_refused(&self, netns: Option<u32>) -> bool {
        netns.map_or(!self.refused.is_empty(), |netns| self.refused.contains_key(&netns))
    }

    /// Namespaces whose sockets could not be listed.
    pub(crate) fn refused(&self) -> &BTreeMap<u32, LookError> {
        &self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_fell_back_to_tcp_is_listed_once() {
        let [local, remote] = [([127, 0, 0, 1], 4000).into(), ([127, 0, 0, 1], 80).into()];
        let socket = |cookie, inode, flavour| {
            let socket = DiagSocket::example(cookie, State::CloseWait, local, remote);
            DiagSocket { flavour, inode, ..socket }
        };
        let mut sockets = vec![
            socket(1, 7, TcpFlavour::Tcp),
            socket(2, 8, TcpFlavour::Tcp),
            socket(3, 0, TcpFlavour::Tcp),
            socket(4, 7, TcpFlavour::Mptcp),
            socket(5, 0, TcpFlavour::Mptcp),
        ];
        leave_out_fallen_back(&mut sockets);
        let left: Vec<u64> = sockets.iter().map(|socket| socket.cookie).collect();
        assert_eq!(left, [2, 3, 4, 5], "nobody has a descriptor of those without an inode");
    }
}
