//! Counts by untrusted keys in bounded memory: keeps the frequent keys, and only the sum of the rest.
//!
//! At twice the keys to keep, the rarer half is evicted; the total still includes it. An evicted key that comes back
//! starts at zero, so counts become lower bounds, which [`BoundedCounts::has_let_go`] reports. Not for keys whose order
//! matters.

use std::{collections::HashMap, hash::Hash};

/// `N` counts for each key; the first one ranks.
#[derive(Clone, Debug)]
pub(crate) struct BoundedCounts<K, const N: usize = 1> {
    /// A remote peer may choose the keys: the default hasher resists collisions.
    counts: HashMap<K, [u64; N]>,
    keep: usize,
    total: [u64; N],
    has_let_go: bool,
}

impl<K: Hash + Ord + Clone, const N: usize> BoundedCounts<K, N> {
    /// Keeps the `keep` most frequent keys, and at most twice as many in between.
    pub(crate) fn new(keep: usize) -> Self {
        Self { counts: HashMap::new(), keep: keep.max(1), total: [0; N], has_let_go: false }
    }

    /// Counts one more of `kind` (below `N`) for a key.
    pub(crate) fn add(&mut self, key: &K, kind: usize) {
        if let Some(count) = self.total.get_mut(kind) {
            *count += 1;
        }
        if let Some(counts) = self.counts.get_mut(key) {
            if let Some(count) = counts.get_mut(kind) {
                *count += 1;
            }
            return;
        }
        if self.counts.len() >= self.keep * 2 {
            self.let_go();
        }
        let counts = self.counts.entry(key.clone()).or_insert([0; N]);
        if let Some(count) = counts.get_mut(kind) {
            *count += 1;
        }
    }

    fn let_go(&mut self) {
        let mut ranks: Vec<(u64, u64)> = self.counts.values().map(rank).collect();
        let (_, least, _) = ranks.select_nth_unstable_by(self.keep, |a, b| b.cmp(a));
        let least = *least;
        // Evicts every key that ties with the first to go: among equals there is no choice.
        self.counts.retain(|_, counts| rank(counts) > least);
        self.has_let_go = true;
    }

    /// The `most` most frequent keys, the most frequent first.
    pub(crate) fn top(&self, most: usize) -> Vec<(K, [u64; N])> {
        let mut all: Vec<(&K, &[u64; N])> = self.counts.iter().collect();
        all.sort_unstable_by(|(a, x), (b, y)| rank(y).cmp(&rank(x)).then_with(|| a.cmp(b)));
        all.into_iter().take(most).map(|(key, counts)| (key.clone(), *counts)).collect()
    }

    /// Keys counted at present.
    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether the key is counted at present.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.counts.contains_key(key)
    }

    /// The totals, evicted keys included.
    pub(crate) fn total(&self) -> [u64; N] {
        self.total
    }

    /// Whether keys were evicted, so that each count is a lower bound.
    pub(crate) fn has_let_go(&self) -> bool {
        self.has_let_go
    }
}

/// The first count, then all together.
fn rank<const N: usize>(counts: &[u64; N]) -> (u64, u64) {
    (counts.first().copied().unwrap_or_default(), counts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_stays_and_the_total_is_whole() {
        let mut counts: BoundedCounts<u32> = BoundedCounts::new(10);
        for round in 0..10_000 {
            // A new key each time, and two that come again and again.
            counts.add(&(1_000 + round), 0);
            counts.add(&1, 0);
            if round % 3 == 0 {
                counts.add(&2, 0);
            }
            assert!(counts.len() <= 20, "{}", counts.len());
        }
        assert_eq!(counts.top(2), [(1, [10_000]), (2, [3_334])]);
        assert_eq!(counts.total(), [23_334]);
        assert!(counts.has_let_go());
    }

    #[test]
    fn a_key_that_becomes_frequent_late_is_found() {
        let mut counts: BoundedCounts<u32> = BoundedCounts::new(10);
        (0..1_000).for_each(|key| counts.add(&key, 0));
        (0..500).for_each(|_| counts.add(&7_777, 0));
        assert_eq!(counts.top(1), [(7_777, [500])]);
    }

    #[test]
    fn few_keys_are_counted_exactly_and_by_kind() {
        let mut counts: BoundedCounts<&str, 2> = BoundedCounts::new(10);
        for (key, kind) in [("a", 1), ("a", 1), ("b", 0), ("a", 0), ("c", 1)] {
            counts.add(&key, kind);
        }
        assert_eq!(counts.top(9), [("a", [1, 2]), ("b", [1, 0]), ("c", [0, 1])]);
        assert_eq!(counts.total(), [2, 3]);
        assert!(!counts.has_let_go());
    }
}
