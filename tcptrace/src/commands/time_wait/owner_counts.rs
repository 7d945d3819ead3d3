//! Counts sockets by the process that closed or holds them; where there are very many processes, by what they have in
//! common. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rustc_hash::FxHashMap;

use super::closers::Closers;
use crate::model::{
    owner::{Evidence, Owner},
    owner_count::OwnerCount,
    pid::Pid,
    process::ProcessIdentity,
    time_wait::CloserId,
};

/// Most processes listed one by one for a destination; beyond that, processes of one name and place are merged.
pub(super) const MOST_ONE_BY_ONE: usize = 8;

/// Most entries of a list in any case.
const MOST_ENTRIES: usize = 64;

/// Descriptors kept of a process that holds ports: it may hold tens of thousands.
const MAX_FDS: usize = 32;

/// What processes have in common: whether /proc shows them, their name, unit and container.
type ProcessPlace = (bool, String, Option<String>, Option<String>);

/// Who closed minisockets first, of which each of these has closed so many.
pub(super) fn closed_by(counts: &FxHashMap<CloserId, u64>, closers: &Closers) -> Vec<OwnerCount> {
    let known = counts.iter().filter_map(|(closer, count)| Some((closers.process(*closer)?, *count)));
    let owner = |process: &Arc<ProcessIdentity>| Owner {
        process: Arc::clone(process),
        fds: Vec::new(),
        inherited: None,
        evidence: Evidence::None,
    };
    merged(known.map(|(process, count)| OwnerCount { owner: owner(process), count, processes: 1 }).collect())
}

/// Who holds these sockets, and how many of them anybody holds.
pub(super) fn held_by(inodes: &[u32], holders: &FxHashMap<u32, Vec<Owner>>) -> (u64, Vec<OwnerCount>) {
    let mut by_pid: BTreeMap<Pid, OwnerCount> = BTreeMap::new();
    let mut held = 0;
    for owners in inodes.iter().filter_map(|inode| holders.get(inode)) {
        held += u64::from(!owners.is_empty());
        for owner in owners {
            let counted = by_pid.entry(owner.process.pid).or_insert_with(|| OwnerCount {
                owner: Owner { fds: Vec::new(), ..owner.clone() },
                count: 0,
                processes: 1,
            });
            counted.count += 1;
            let room = MAX_FDS.saturating_sub(counted.owner.fds.len());
            counted.owner.fds.extend(owner.fds.iter().take(room));
        }
    }
    (held, merged(by_pid.into_values().collect()))
}

/// The most frequent first; of many, those of one name and place together.
fn merged(mut all: Vec<OwnerCount>) -> Vec<OwnerCount> {
    let order = |counted: &OwnerCount| (Reverse(counted.count), counted.owner.process.pid);
    // The process with the most sockets stands for the merged ones.
    all.sort_by_key(order);
    if all.len() > MOST_ONE_BY_ONE {
        let mut by_place: HashMap<ProcessPlace, usize> = HashMap::new();
        let mut merged: Vec<OwnerCount> = Vec::new();
        for counted in all {
            let process = &counted.owner.process;
            let is_shown = process.pid.visible().is_some();
            let place = (is_shown, process.comm.clone(), process.unit.clone(), process.container.clone());
            let at = *by_place.entry(place).or_insert(merged.len());
            match merged.get_mut(at) {
                Some(entry) => {
                    entry.count += counted.count;
                    entry.processes += counted.processes;
                }
                None => merged.push(counted),
            }
        }
        merged.sort_by_key(order);
        merged.truncate(MOST_ENTRIES);
        all = merged;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::examples;

    fn owner(pid: u32, comm: &str, fds: Vec<u32>) -> Owner {
        Owner { process: Arc::new(ProcessIdentity::from_name(Pid::new(pid), comm)), fds, ..examples::owner() }
    }

    #[test]
    fn a_socket_that_two_processes_hold_is_held_once_and_counts_for_each() {
        let (parent, child) = (owner(7, "shop", vec![4]), owner(8, "shop", vec![4]));
        let holders = FxHashMap::from_iter([(1, vec![parent.clone(), child]), (2, vec![parent])]);
        let (held, by) = held_by(&[1, 2, 3], &holders);
        let counts: Vec<_> = by
            .iter()
            .map(|counted| (counted.owner.process.pid.visible(), counted.count, &counted.owner.fds[..]))
            .collect();
        assert_eq!((held, &counts[..]), (2, &[(Some(7), 2, &[4, 4][..]), (Some(8), 1, &[4][..])][..]));
    }

    #[test]
    fn many_processes_of_one_name_are_put_together_and_descriptors_are_bounded() {
        let holders = (0..40).map(|pid| (pid, vec![owner(pid, "worker", vec![3])]));
        let mut holders: FxHashMap<u32, Vec<Owner>> = holders.collect();
        holders.extend((100..300).map(|inode| (inode, vec![owner(99, "hoarder", vec![inode])])));
        let inodes: Vec<u32> = holders.keys().copied().collect();
        let (held, by) = held_by(&inodes, &holders);
        let counts: Vec<_> = by
            .iter()
            .map(|counted| (counted.owner.process.comm.as_str(), counted.count, counted.processes))
            .collect();
        assert_eq!((held, &counts[..]), (240, &[("hoarder", 200, 1), ("worker", 40, 40)][..]));
        assert!(by.iter().all(|counted| counted.owner.fds.len() <= MAX_FDS));
    }

    #[test]
    fn a_process_outside_is_not_put_together_with_those_of_its_name_inside() {
        let inside = (0..9).map(|pid| owner(pid, "shop", vec![3]));
        let mut outside = owner(0, "shop", Vec::new());
        outside.process = Arc::new(ProcessIdentity::from_name(Pid::of_host(5), "shop"));
        let holders = inside.chain([outside]).zip(0..).map(|(owner, inode)| (inode, vec![owner])).collect();
        let (_, by) = held_by(&(0..10).collect::<Vec<_>>(), &holders);
        let counts: Vec<_> = by
            .iter()
            .map(|counted| (counted.owner.process.pid.visible().is_some(), counted.processes))
            .collect();
        assert_eq!(counts, [(true, 9), (false, 1)]);
    }
}
