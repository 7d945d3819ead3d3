//! The holders of the sockets that take ports; where nothing was traced, they may also have closed those in TIME_WAIT.
//! Never says who did close them.

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
    held: &FxHashSet<u32>,
    listeners: &FxHashSet<u32>,
) -> FxHashMap<u32, Vec<Owner>> {
    let wanted = held.union(listeners).copied().collect();
    let mut by_inode: FxHashMap<u32, Holders> = FxHashMap::default();
    for proc_fd::InodeHolder { inode, pid, fd } in proc_fd::holders_by_inode(&world.proc, &wanted).holders {
        by_inode.entry(inode).or_default().entry(Pid::new(pid)).or_default().push(fd);
    }
    let mut processes = ProcessCache::new(world);
    let owners = |(inode, holders): (u32, Holders)| {
        let evidence = if held.contains(&inode) { Evidence::FdTable } else { Evidence::Listener };
        (inode, processes.owners(&holders, evidence, None))
    };
    by_inode.into_iter().map(owners).collect()
}
