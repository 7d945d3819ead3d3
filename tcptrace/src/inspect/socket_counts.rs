//! How many TCP sockets each process holds. Looks at none of them.

use rustc_hash::FxHashMap;

use super::{
    descriptors::{DescriptorScan, ScanTarget},
    dump::NamespaceDumper,
    tables::Tables,
};
use crate::{
    host::world::World,
    model::{coverage::Coverage, pid::Pid, state::StateSet},
};

/// The processes that hold sockets.
#[derive(Debug, Default)]
pub(crate) struct SocketCounts {
    /// Those with the most sockets first.
    pub(crate) processes: Vec<(Pid, usize)>,
    /// What could not be looked at: descriptor tables, and the sockets of network namespaces.
    pub(crate) coverage: Coverage,
}

/// States that a process holds sockets in. Listeners are counted in any case; to ask for them by state would give cookies
/// to those of MPTCP.
const HELD: StateSet = StateSet::LISTEN.union(StateSet::TIME_WAIT).complement();

/// Counts them.
pub(crate) fn socket_counts(tables: &mut Tables, world: &World) -> SocketCounts {
    let mut coverage = Coverage::default();
    let scan = tables.scan(ScanTarget::States(HELD)).unwrap_or_else(|| {
        let (listing, found) = NamespaceDumper::new(world.clone()).list_all(HELD.union(StateSet::LISTEN));
        coverage = Coverage { listed: listing.answered.iter().copied().collect(), ..found.unread };
        coverage.note_refused(&listing.refused);
        DescriptorScan::with_proc(&world.proc, &listing.sockets, &[], &[], tables.hidden_in_proc())
    });
    coverage.has_descriptors = scan.is_of_kernel();
    scan.cover(&mut coverage);
    let mut counts: FxHashMap<Pid, usize> = FxHashMap::default();
    for (pid, fds) in scan.all_holders().flatten() {
        *counts.entry(*pid).or_default() += fds.len();
    }
    let mut processes: Vec<(Pid, usize)> = counts.into_iter().collect();
    processes.sort_by_key(|(pid, count)| (std::cmp::Reverse(*count), *pid));
    SocketCounts { processes, coverage }
}
