//! Descriptors of connections that are over, by the processes that keep them. Bounded; each socket counts once.

use std::collections::{BTreeMap, HashSet};

use super::stay::SocketIdentity;
use crate::model::ended::EndedHow;

/// Sockets remembered, so that several looks at one count once.
const MOST_SOCKETS: usize = 262_144;

/// Processes counted one by one.
const MOST_PROCESSES: usize = 4_096;

/// What one process keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptOver {
    pub sockets: u64,
    /// How the connections ended; `None` where nobody saw it.
    pub ways: BTreeMap<Option<EndedHow>, u64>,
    /// Indices of the stacks that opened them.
    pub stacks: BTreeMap<u32, u64>,
}

/// Descriptors of connections that are over.
#[derive(Debug, Default)]
pub(crate) struct OverCounts {
    seen: HashSet<SocketIdentity>,
    /// By the index of the first holder; `None` when nobody is known.
    pub by_process: BTreeMap<Option<u32>, KeptOver>,
    pub sockets: u64,
    /// Whether there were too many to count each.
    pub is_lower_bound: bool,
}

impl OverCounts {
    /// Counts a descriptor, unless it was counted before.
    pub(crate) fn add(
        &mut self,
        socket: SocketIdentity,
        holder: Option<u32>,
        how: Option<EndedHow>,
        stack: Option<u32>,
    ) {
        if self.seen.contains(&socket) {
            return;
        }
        let has_room = self.by_process.len() < MOST_PROCESSES || self.by_process.contains_key(&holder);
        if self.seen.len() >= MOST_SOCKETS || !has_room {
            self.is_lower_bound = true;
            return;
        }
        self.seen.insert(socket);
        self.sockets += 1;
        let kept = self.by_process.entry(holder).or_default();
        kept.sockets += 1;
        *kept.ways.entry(how).or_default() += 1;
        if let Some(stack) = stack {
            *kept.stacks.entry(stack).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_counts_once_for_its_first_holder() {
        let mut counts = OverCounts::default();
        let reset = Some(EndedHow::Reset);
        counts.add(SocketIdentity::Cookie(0, 7), Some(1), reset, Some(3));
        counts.add(SocketIdentity::Cookie(0, 7), Some(1), reset, Some(3));
        counts.add(SocketIdentity::Cookie(1, 7), Some(2), None, None);
        assert_eq!((counts.sockets, counts.is_lower_bound), (2, false));
        assert_eq!(
            counts.by_process.get(&Some(1)).map(|kept| (kept.sockets, kept.ways[&reset])),
            Some((1, 1))
        );
    }
}
