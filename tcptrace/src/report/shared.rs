//! Sockets that several processes hold, each counted once. Pure.

use std::collections::{BTreeMap, HashMap};

use super::{entities::Entities, sums::Sums};

/// What the processes with stuck sockets have in common.
pub(crate) struct SharedSockets<'a> {
    sums: &'a Sums,
    /// Sets of processes with the number of sockets that exactly those hold.
    sets: Vec<(Box<[u32]>, u64)>,
    /// By index of a process: its sockets that others hold as well.
    shared: HashMap<u32, u64>,
    /// By index of a process: its sockets of which it is the first holder of its name.
    first_of_program: HashMap<u32, u64>,
}

impl<'a> SharedSockets<'a> {
    /// `order` are the indices of the processes, the worst first.
    pub(crate) fn new(sums: &'a Sums, entities: &Entities, order: &[usize]) -> Self {
        let sets: Vec<_> =
            sums.shared.top(usize::MAX).into_iter().map(|(set, [sockets])| (set, sockets)).collect();
        let places: HashMap<u32, usize> = order
            .iter()
            .enumerate()
            .filter_map(|(place, index)| Some((u32::try_from(*index).ok()?, place)))
            .collect();
        let (mut shared, mut first_of_program) = (HashMap::new(), HashMap::new());
        for (set, sockets) in &sets {
            let mut firsts: BTreeMap<&str, (usize, u32)> = BTreeMap::new();
            for index in set {
                *shared.entry(*index).or_default() += sockets;
                let Some(process) = entities.processes.get(*index as usize) else { continue };
                let place = (places.get(index).copied().unwrap_or(usize::MAX), *index);
                let first = firsts.entry(&process.identity.comm).or_insert(place);
                *first = (*first).min(place);
            }
            for (_, first) in firsts.into_values() {
                *first_of_program.entry(first).or_default() += sockets;
            }
        }
        Self { sums, sets, shared, first_of_program }
    }

    /// The sockets of a process that others hold as well.
    pub(crate) fn of(&self, index: usize) -> u64 {
        u32::try_from(index).ok().and_then(|index| self.shared.get(&index)).copied().unwrap_or_default()
    }

    /// The sockets of a process that no worse process of its name holds as well.
    pub(crate) fn first_of_program(&self, index: usize) -> u64 {
        let first = u32::try_from(index).ok().and_then(|index| self.first_of_program.get(&index));
        self.alone(index) + first.copied().unwrap_or_default()
    }

    /// Who holds sockets of this process as well, and how many of them, the most first.
    pub(crate) fn partners(&self, index: usize) -> Vec<(usize, u64)> {
        let is_in = |set: &[u32]| set.iter().any(|other| *other as usize == index);
        let mut partners: BTreeMap<usize, u64> = BTreeMap::new();
        for (set, sockets) in self.sets.iter().filter(|(set, _)| is_in(set)) {
            for other in set.iter().map(|other| *other as usize).filter(|other| *other != index) {
                *partners.entry(other).or_default() += sockets;
            }
        }
        let mut partners: Vec<(usize, u64)> = partners.into_iter().collect();
        partners.sort_by_key(|(partner, sockets)| (std::cmp::Reverse(*sockets), *partner));
        partners
    }

    /// The sockets that processes hold, but none of these.
    pub(crate) fn held_by_none_of(&self, processes: &[usize]) -> u64 {
        let is_listed = |index: usize| processes.contains(&index);
        let alone = (0..self.sums.processes.len()).filter(|index| !is_listed(*index));
        let together =
            self.sets.iter().filter(|(set, _)| !set.iter().any(|index| is_listed(*index as usize)));
        alone.map(|index| self.alone(index)).sum::<u64>() + together.map(|(_, sockets)| sockets).sum::<u64>()
    }

    fn alone(&self, index: usize) -> u64 {
        let all = self.sums.processes.get(index).map_or(0, |process| process.stuck.ever);
        all.saturating_sub(self.of(index))
    }
}
