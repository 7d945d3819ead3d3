//! Every socket of the host that is in some states now. Decides which namespaces are worth a dump, because
//! each dump walks the tables of the whole host; leaves the inspection to the inspector.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    age as since,
    descriptors::{DescriptorScan, ScanTarget},
    dump::{DumpJob, DumpScope, FoundNamespace, FoundNamespaces, ListingIndex},
    inspector::{Inspector, unlisted},
};
use crate::{
    host::pool as parallel,
    kernel::HolderSource,
    model::{
        close_wait::{Due, Stuck},
        finding::Finding,
        pid::Pid,
        socket::SocketKey,
        state::{State, StateSet},
    },
    netlink::SocketId,
};

/// Up to this many namespaces with sockets are dumped unconditionally.
const FEW_NAMESPACES: usize = 8;

/// Most sockets to look up one by one, at some microseconds each.
const MOST_LOOKUPS: usize = 256;

/// A snapshot of the whole host.
#[derive(Debug)]
pub(crate) struct HostSnapshot {
    /// Each socket once, in no order.
    pub findings: Vec<Finding>,
    /// Network namespaces of the host.
    pub namespaces: usize,
    /// Processes of the host.
    pub processes: usize,
    /// Processes and bind mounts whose namespace could not be read, for lack of rights.
    pub unreadable: usize,
    /// How descriptor tables were read.
    pub source: HolderSource,
}

impl Inspector {
    /// Inspects every socket in one of `states`; with those in CLOSE_WAIT, also those whose connection is over while
    /// somebody has a descriptor of them.
    pub(crate) fn snapshot(&mut self, states: StateSet) -> HostSnapshot {
        self.processes.begin_round();
        let Self { dumper, processes, tables, .. } = self;
        // Descriptors first, then states, as in `inspect`.
        let (scan, FoundNamespaces { namespaces, processes: process_count, unreadable }) = parallel::both(
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
        let ((), index) =
            parallel::both(|| processes.read_all(&holders), || ListingIndex::new(dumper.fetch(states, jobs)));
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
        self.recheck_unheld(&due, &mut findings);
        findings.retain(|finding| finding.is_stuck);
        HostSnapshot { findings, namespaces: namespaces.len(), processes: process_count, unreadable, source }
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
                interface: 0,
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

fn everything(netns: u32) -> DumpJob {
    DumpJob { netns, scope: DumpScope::All, with_mptcp: true }
}

/// Whether sockets in these states usually have a descriptor. After close() they have none, and a minisocket does not
/// count as in use.
fn are_held(states: StateSet) -> bool {
    let held: StateSet = [State::Established, State::SynSent, State::Listen, State::CloseWait, State::Close]
        .into_iter()
        .collect();
    held.union(states) == held
}
