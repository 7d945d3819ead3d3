//! Processes that may have closed a TIME_WAIT socket: holders of connections to the same destination. Never
//! says who did close it.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    host::world::World,
    inspect::proc_fd,
    model::{
        holders::Holders,
        owner::{Evidence, Owner},
        pid::Pid,
    },
    process::cache::ProcessCache,
};

/// The holders of sockets, by inode number. Reads every descriptor table of the host once.
pub(crate) fn holders(
    world: &World,
    connections: &FxHashSet<u32>,
    listeners: &FxHashSet<u32>,
) -> FxHashMap<u32, Vec<Owner>> {
    let wanted = connections.union(listeners).copied().collect();
    let mut by_inode: FxHashMap<u32, Holders> = FxHashMap::default();
    for proc_fd::InodeHolder { inode, pid, fd } in proc_fd::holders_by_inode(&world.proc, &wanted).holders {
        by_inode.entry(inode).or_default().entry(Pid::new(pid)).or_default().push(fd);
    }
    let mut processes = ProcessCache::new(world);
    let owners = |(inode, holders): (u32, Holders)| {
        let evidence = if listeners.contains(&inode) { Evidence::Listener } else { Evidence::FdTable };
        (inode, processes.owners(&holders, evidence, None))
    };
    by_inode.into_iter().map(owners).collect()
}
