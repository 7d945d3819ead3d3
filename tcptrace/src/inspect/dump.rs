//! Which sockets the kernel lists, in all network namespaces of the host or in some of them. Knows
//! nothing of processes.

use crate::host::world::World;
use std::{io, path::PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    host::{
        namespaces::{self, NetNamespace},
        pool as parallel,
    },
    model::{
        endpoints::Endpoints,
        socket::{Socket, TcpFlavour},
        state::{State, StateSet},
    },
    netlink::{self as sock_diag, DiagSocket, SockDiag, SocketId},
};

/// A namespace that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its inode number.
    pub netns: u32,
    /// TCP sockets in it, minisockets apart; `None` when not known.
    pub in_use: Option<u32>,
}

/// The namespaces of the host.
#[derive(Debug)]
pub(crate) struct Places {
    /// Each once.
    pub places: Vec<Place>,
    /// Processes that were looked at for them.
    pub processes: usize,
    /// Processes and bind mounts whose namespace is not known, for lack of rights.
    pub unreadable: usize,
}

/// What is to be listed of one namespace.
#[derive(Debug)]
pub(crate) struct Errand {
    /// Its inode number.
    pub netns: u32,
    /// Which of its TCP sockets.
    pub scope: Scope,
    /// Whether its MPTCP sockets too.
    pub with_mptcp: bool,
}

/// Which sockets of a namespace.
#[derive(Debug)]
pub(crate) enum Scope {
    /// All, whatever it costs: the kernel walks the tables of the whole host.
    All,
    /// These; should one of them be gone, all.
    These(Vec<SocketId>),
}

/// Lists sockets. Between calls it holds neither namespaces nor sockets in them: a namespace that is
/// held open outlives its container, with the network devices in it.
pub(crate) struct Lister {
    world: World,
    /// Where each namespace was found last.
    paths: FxHashMap<u32, PathBuf>,
    has_mptcp: bool,
}

impl Lister {
    /// Prepares to list.
    pub(crate) fn new(world: World) -> Self {
        Self { world, paths: FxHashMap::default(), has_mptcp: true }
    }

    /// The host whose sockets are listed.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Lists sockets in the given namespaces, or in all of them.
    pub(crate) fn list(&mut self, states: StateSet, only: Option<&FxHashSet<u32>>) -> Listing {
        let errand = |netns: &u32| Errand { netns: *netns, scope: Scope::All, with_mptcp: true };
        let Some(only) = only else {
            let used: Vec<u32> = self
                .places()
                .places
                .iter()
                .filter(|place| place.in_use != Some(0))
                .map(|place| place.netns)
                .collect();
            return self.fetch(states, used.iter().map(errand).collect());
        };
        let mut listing = self.fetch(states, only.iter().map(errand).collect());
        let missing: Vec<&u32> = only.iter().filter(|netns| !listing.answered.contains(netns)).collect();
        if !missing.is_empty() {
            // Not found yet, or the process that they were found through has ended.
            self.places();
            let again = self.fetch(states, missing.into_iter().map(errand).collect());
            listing.sockets.extend(again.sockets);
            listing.answered.extend(again.answered);
        }
        listing
    }

    /// Finds the namespaces of the host.
    pub(crate) fn places(&mut self) -> Places {
        let found = namespaces::discover(&self.world.proc, &self.world.run_netns);
        self.paths.clear();
        let place = |namespace: &NetNamespace| {
            self.paths.insert(namespace.inode, namespace.path().to_owned());
            Place { netns: namespace.inode, in_use: namespace.tcp_in_use(&self.world.proc) }
        };
        let places = found.namespaces.iter().map(place).collect();
        Places { places, processes: found.processes, unreadable: found.unreadable }
    }

    /// Runs the errands, several at a time.
    pub(crate) fn fetch(&mut self, states: StateSet, errands: Vec<Errand>) -> Listing {
        let mut listing = Listing { asked_ns: self.world.clocks.monotonic_ns(), ..Listing::default() };
        let mut failure = None;
        for errand in parallel::map(errands, |errand| self.run(&errand, states)) {
            match errand {
                Ok(Fetched { netns, sockets, has_mptcp }) => {
                    listing.sockets.extend(sockets.into_iter().map(|socket| (netns, socket)));
                    listing.answered.insert(netns);
                    self.has_mptcp &= has_mptcp;
                }
                // It ended meanwhile.
                Err(error @ sock_diag::Error::Namespace { .. }) => log::debug!("{error}"),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            log::warn!("{error}");
        }
        listing
    }

    /// A conversation with the kernel in this namespace, where it was found last.
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

    fn run(&self, errand: &Errand, states: StateSet) -> Result<Fetched, sock_diag::Error> {
        let Errand { netns, scope, with_mptcp } = errand;
        let mut diag = self.open(*netns)?;
        // An MPTCP socket is listed for itself; the TCP sockets within it are not what applications hold.
        let visit = |sockets: &mut Vec<DiagSocket>, socket: DiagSocket| {
            if !socket.is_mptcp_subflow {
                sockets.push(socket);
            }
        };
        let mut sockets = Vec::new();
        let is_found = match scope {
            Scope::All => false,
            Scope::These(ids) => look_up(&mut diag, ids, states, &mut sockets)?,
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
        Ok(Fetched { netns: *netns, sockets, has_mptcp })
    }
}

struct Fetched {
    netns: u32,
    sockets: Vec<DiagSocket>,
    /// Whether the kernel answers for MPTCP.
    has_mptcp: bool,
}

/// Looks single sockets up; false when one of them was not found. It may be gone, or bound to an
/// interface, which cannot be told apart.
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

/// What the kernel listed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Each with the inode number of its namespace. The same socket can be here twice.
    pub sockets: Vec<(u32, DiagSocket)>,
    /// Namespaces that answered: what is in one of them and not listed is not there.
    pub answered: FxHashSet<u32>,
    /// When the kernel was asked (CLOCK_MONOTONIC, nanoseconds): what it told is of that moment or later.
    pub asked_ns: u64,
}

/// What the kernel listed, to be found by cookie or by address.
pub(crate) struct Index {
    listed: Vec<(u32, DiagSocket)>,
    by_cookie: FxHashMap<u64, usize>,
    by_address: FxHashMap<Endpoints, usize>,
    answered: FxHashSet<u32>,
    asked_ns: u64,
}

impl Index {
    /// Sorts a listing in; a socket that was listed twice is here once.
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

    /// Every socket, each with the inode number of its namespace.
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

    /// Whether a socket of this namespace would have been listed, were it there.
    pub(crate) fn knows_all_of(&self, netns: Option<u32>) -> bool {
        netns.is_none_or(|netns| self.answered.contains(&netns))
    }
}
