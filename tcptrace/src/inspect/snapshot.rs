//! Every socket of the host that is in some states now. Decides which namespaces are worth a dump, because
//! each dump walks the tables of the whole host; leaves the inspection to the inspector.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    age as since,
    descriptors::{DescriptorScan, ScanTarget},
    dump::{DumpJob, DumpScope, FoundNamespace, FoundNamespaces, ListingIndex, everything},
    inspector::{Inspector, unlisted},
};
use crate::{
    host::pool as parallel,
    kernel::HolderSource,
    model::{
        close_wait::{Due, Stuck},
        coverage::{Coverage, LookError, NamespaceName},
        criteria::Criteria,
        finding::Finding,
        interface::Interface,
        no_site::NoSiteBecause,
        pid::Pid,
        socket::SocketKey,
        state::{State, StateSet},
        verdict::UnknownBecause,
    },
    netlink::SocketId,
};

/// Up to this many namespaces with sockets are dumped unconditionally.
const FEW_NAMESPACES: usize = 8;

/// Up to this many processes are read in no longer than a thread takes to start.
const FEW_HOLDERS: usize = 4;

/// Most sockets to look up one by one, at some microseconds each.
const MOST_LOOKUPS: usize = 256;

/// A snapshot of the whole host.
#[derive(Debug)]
pub(crate) struct HostSnapshot {
    /// Each socket once, in no order.
    pub findings: Vec<Finding>,
    /// Network namespaces that were looked into.
    pub namespaces: usize,
    /// Processes of the host.
    pub processes: usize,
    /// What could not be looked at.
    pub coverage: Coverage,
    /// How descriptor tables were read.
    pub source: HolderSource,
}

impl Inspector {
    /// Inspects every socket in one of the states; with those in CLOSE_WAIT, also those whose connection is over while
    /// somebody has a descriptor of them. What else is wanted of them only decides what could not be looked at.
    pub(crate) fn snapshot(&mut self, criteria: &Criteria) -> HostSnapshot {
        let (states, wanted) = (criteria.states, &criteria.netns);
        self.begin_look();
        let Self { dumper, processes, tables, .. } = self;
        // Descriptors first, then states, as in `inspect`.
        let (scan, FoundNamespaces { namespaces, processes: process_count, unread }) = parallel::both(
            || tables.scan(ScanTarget::States(with_over(states))),
            || dumper.find_namespaces(),
        );
        let source = if scan.is_some() { HolderSource::Iterator } else { HolderSource::Proc };
        let jobs = match &scan {
            Some(scan) => jobs(states, scan, &namespaces),
            None => namespaces.iter().map(|namespace| everything(namespace.netns)).collect(),
        };
        let holders: FxHashSet<Pid> = scan
            .iter()
            .flat_map(DescriptorScan::all_held)
            .flat_map(|held| held.holders.keys())
            .copied()
            .collect();
        let mut read = || processes.read_all(&holders);
        let list = || ListingIndex::new(dumper.fetch(states, jobs));
        let index = if holders.len() > FEW_HOLDERS {
            parallel::both(read, list).1
        } else {
            read();
            list()
        };
        let asked_within = index.asked_ns()..=self.dumper.world().clocks.monotonic_ns();
        let mut due: Vec<Due> = index
            .sockets()
            .iter()
            .map(|(netns, socket)| Due {
                key: SocketKey(socket.cookie),
                socket: socket.named(*netns),
                stuck: Stuck::InCloseWait,
                since: since::bracket(asked_within.clone(), socket.times),
                kernel_socket: None,
            })
            .collect();
        let unlisted = scan.iter().flat_map(|scan| unlisted(scan, &index));
        due.extend(unlisted.map(|held| Due {
            key: SocketKey(held.socket.cookie.unwrap_or_default()),
            socket: held.socket,
            stuck: held.stuck(),
            since: since::bracket(asked_within.clone(), None),
            kernel_socket: None,
        }));
        let scan = self.complete(scan, &due, &index);
        let mut findings = due.iter().map(|due| self.find(due, &index, &scan)).collect::<Vec<_>>();
        let refused_again = self.recheck_unheld(&due, &mut findings);
        self.explain(&mut findings, &index, &scan);
        findings.retain(|finding| finding.is_stuck);
        for no_site in findings.iter_mut().filter_map(|finding| finding.no_site.as_mut()) {
            if no_site.because == NoSiteBecause::NotWatched {
                no_site.because = NoSiteBecause::LooksOnce;
            }
        }
        let found = namespaces.iter().map(|namespace| namespace.netns).collect();
        let mut coverage = self.coverage(unread, &found, &index, &scan);
        coverage.note_refused(&refused_again);
        let is_wanted = |finding: &&Finding| criteria.admits_socket(&finding.socket);
        let is_holder_unknown = findings.iter().filter(is_wanted).any(|finding| {
            // Who is asked for may be among those that could not be read.
            finding.unknown_because == Some(UnknownBecause::ProcessesNotRead) || !criteria.owners.is_empty()
        });
        // Where each socket has its holder, tables that could not be read are in nobody's way.
        if is_holder_unknown {
            scan.cover(&mut coverage);
            self.processes.cover(&mut coverage);
        }
        let looked_into = coverage.listed.len();
        coverage.restrict(wanted, is_holder_unknown);
        if states.contains(State::Close) && source == HolderSource::Proc {
            coverage.errors.insert(LookError::OVER_UNSEEN);
        }
        coverage.has_descriptors &= wanted.is_empty() || findings.iter().any(|finding| is_wanted(&finding));
        HostSnapshot { findings, namespaces: looked_into, processes: process_count, coverage, source }
    }

    /// The namespaces with sockets in question beside those that were `found`: nothing but a descriptor keeps them alive.
    fn unreachable(
        &mut self,
        found: &FxHashSet<u32>,
        index: &ListingIndex,
        scan: &DescriptorScan,
    ) -> FxHashSet<u32> {
        let held = unlisted(scan, index).filter_map(|held| held.socket.netns);
        // Connections that nobody has accepted are in no descriptor table.
        let mut missing: FxHashSet<u32> =
            held.chain(scan.with_backlog()).filter(|netns| !found.contains(netns)).collect();
        if !missing.is_empty() {
            // What has come since was not there to be found.
            for namespace in self.dumper.find_namespaces().namespaces {
                missing.remove(&namespace.netns);
            }
        }
        missing
    }

    /// What could not be looked at, when the namespaces that were `found` were asked.
    pub(super) fn coverage(
        &mut self,
        unread: Coverage,
        found: &FxHashSet<u32>,
        index: &ListingIndex,
        scan: &DescriptorScan,
    ) -> Coverage {
        let mut coverage = unread;
        coverage.has_descriptors = scan.is_of_kernel();
        let is_listed = |netns: &&u32| !index.is_refused(Some(**netns));
        coverage.listed = found.iter().filter(is_listed).copied().collect();
        coverage.note_refused(index.refused());
        for netns in self.unreachable(found, index, scan) {
            coverage.namespaces.entry(NamespaceName::Inode(netns)).or_insert(LookError::UNREACHABLE);
        }
        coverage.hidden.extend(self.tables.hidden_in_proc());
        coverage
    }
}

/// The states of the descriptors to look for.
fn with_over(states: StateSet) -> StateSet {
    if states.contains(State::CloseWait) { states.union(StateSet::CLOSE) } else { states }
}

/// What to list in each namespace, given the descriptors.
fn jobs(states: StateSet, scan: &DescriptorScan, namespaces: &[FoundNamespace]) -> Vec<DumpJob> {
    let mut held: FxHashMap<u32, Vec<SocketId>> = FxHashMap::default();
    let mut with_mptcp: FxHashSet<u32> = FxHashSet::default();
    // The kernel lists no socket whose connection is over.
    for socket in scan.all_held().filter(|held| held.state != State::Close) {
        let Some((netns, cookie)) = socket.socket.netns.zip(socket.socket.cookie) else { continue };
        if socket.is_mptcp {
            with_mptcp.insert(netns);
        } else {
            let endpoints = socket.socket.endpoints;
            held.entry(netns).or_default().push(SocketId {
                cookie,
                local: endpoints.local,
                remote: endpoints.remote,
                interface: endpoints.interface().map_or(0, Interface::index),
            });
        }
    }
    let in_use = namespaces.iter().filter(|namespace| namespace.in_use != Some(0)).count();
    let has_few = in_use <= FEW_NAMESPACES;
    let job = |namespace: &FoundNamespace| {
        let netns = namespace.netns;
        let count = scan.descriptor_count(netns);
        let is_empty = namespace.in_use == Some(0);
        // Unaccepted connections, and whatever else has no descriptor.
        let may_hide = count.has_backlog || namespace.in_use.is_none_or(|in_use| in_use > count.held);
        if !are_held(states) || (!is_empty && (has_few || may_hide)) {
            return Some(everything(netns));
        }
        let ids = held.remove(&netns).unwrap_or_default();
        let with_mptcp = with_mptcp.contains(&netns);
        match ids.len() {
            0 if !with_mptcp => None,
            0..=MOST_LOOKUPS => Some(DumpJob { netns, scope: DumpScope::These(ids), with_mptcp }),
            _ => Some(everything(netns)),
        }
    };
    namespaces.iter().filter_map(job).collect()
}

/// Whether sockets in these states usually have a descriptor. After close() they have none, and a minisocket does not
/// count as in use.
fn are_held(states: StateSet) -> bool {
    let held: StateSet = [State::Established, State::SynSent, State::Listen, State::CloseWait, State::Close]
        .into_iter()
        .collect();
    held.union(states) == held
}
