//! The accept queues of listeners: how many connections wait, and how many there is room for.

use rustc_hash::{FxHashMap, FxHashSet};

use super::dump::NamespaceDumper;
use crate::model::{
    endpoints::Endpoint,
    process::{AcceptQueue, UseQuery},
    state::StateSet,
};

/// Network namespaces asked in one go.
const MOST_NAMESPACES: usize = 16;

/// The fullest queue of those that each of `queries` asks for, in order.
pub(super) fn of(dumper: &mut NamespaceDumper, queries: &[UseQuery]) -> Vec<Option<AcceptQueue>> {
    let listens_at = queries.iter().flat_map(|query| &query.listens_at);
    let mut namespaces: FxHashSet<u32> = FxHashSet::default();
    for (netns, _) in listens_at {
        if namespaces.len() < MOST_NAMESPACES {
            namespaces.insert(*netns);
        }
    }
    if namespaces.is_empty() {
        return vec![None; queries.len()];
    }
    let mut queues: FxHashMap<(u32, Endpoint), AcceptQueue> = FxHashMap::default();
    for (netns, listener) in dumper.list(StateSet::LISTEN, &namespaces).sockets {
        // Several may listen at one address (SO_REUSEPORT).
        let queue = AcceptQueue { length: listener.recv_q, limit: listener.send_q };
        let known = queues.entry((netns, listener.local)).or_insert(queue);
        *known = fuller(*known, queue);
    }
    let queue = |query: &UseQuery| {
        let at = |(netns, local): &(u32, Endpoint)| {
            let addresses = local.listened_at();
            // One at the address itself may be empty, while connections still wait for one at a wildcard.
            addresses.iter().filter_map(|address| queues.get(&(*netns, *address))).copied().reduce(fuller)
        };
        query.listens_at.iter().filter_map(at).reduce(fuller)
    };
    queries.iter().map(queue).collect()
}

/// The one with the larger part of its places taken.
fn fuller(one: AcceptQueue, other: AcceptQueue) -> AcceptQueue {
    let taken = |queue: AcceptQueue, by: AcceptQueue| u64::from(queue.length) * (u64::from(by.limit) + 1);
    if taken(other, one) > taken(one, other) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_queue_has_the_larger_part_of_its_places_taken() {
        let queue = |length, limit| AcceptQueue { length, limit };
        assert_eq!(fuller(queue(10, 128), queue(5, 8)), queue(5, 8));
        assert_eq!(fuller(queue(128, 128), queue(5, 8)), queue(128, 128));
        assert_eq!(fuller(queue(0, 128), queue(0, 8)), queue(0, 128));
        assert!(queue(9, 8).is_full() && !queue(8, 8).is_full());
    }
}
