//! Puts the records of several CPUs, each in order, into one order of time. Reads no buffer by itself.

use std::{cmp::Reverse, collections::BinaryHeap};

/// The records of a CPU.
pub(super) struct Cpu<R> {
    pub(super) reader: R,
    /// The next record, if there is one at hand.
    record: Vec<u8>,
    has_record: bool,
}

impl<R> Cpu<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, record: Vec::new(), has_record: false }
    }
}

/// Which CPU's record comes next.
pub(super) struct Merge {
    time_at: Option<usize>,
    /// The times of the records at hand, with the index of their CPU.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Merge {
    /// `time_at`: where a record has its time; `None` where the order says nothing.
    pub(super) fn new(time_at: Option<usize>) -> Self {
        Self { time_at, next: BinaryHeap::new() }
    }

    /// Passes up to `limit` records from until this time (CLOCK_MONOTONIC, nanoseconds) to `visit`, the oldest first; returns
    /// their number. `read` reads the next record of a CPU, and returns whether there was one.
    pub(super) fn take<R>(
        &mut self,
        cpus: &mut [Cpu<R>],
        until_ns: u64,
        limit: usize,
        mut read: impl FnMut(&mut R, &mut Vec<u8>) -> bool,
        mut visit: impl FnMut(&[u8]),
    ) -> usize {
        let Self { time_at, next } = self;
        next.clear();
        for (index, cpu) in cpus.iter_mut().enumerate() {
            cpu.has_record = cpu.has_record || read(&mut cpu.reader, &mut cpu.record);
            if cpu.has_record {
                next.push(Reverse((time(&cpu.record, *time_at), index)));
            }
        }
        let mut count = 0;
        while count < limit {
            let Some(mut first) = next.peek_mut() else { break };
            let Reverse((time_ns, index)) = *first;
            let Some(cpu) = cpus.get_mut(index).filter(|_| time_ns <= until_ns) else { break };
            visit(&cpu.record);
            count += 1;
            cpu.has_record = read(&mut cpu.reader, &mut cpu.record);
            if cpu.has_record {
                *first = Reverse((time(&cpu.record, *time_at), index));
            } else {
                std::collections::binary_heap::PeekMut::pop(first);
            }
        }
        count
    }
}

/// When a record was made; 0 where that says nothing.
fn time(record: &[u8], at: Option<usize>) -> u64 {
    at.and_then(|at| record.get(at..)?.first_chunk()).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    type Scripted = VecDeque<[u64; 2]>;

    const CPUS: usize = 4;

    /// A record is its time, and what it says.
    fn read(records: &mut Scripted, record: &mut Vec<u8>) -> bool {
        let Some(next) = records.pop_front() else { return false };
        record.clear();
        record.extend(next.iter().flat_map(|word| word.to_ne_bytes()));
        true
    }

    fn take(merge: &mut Merge, cpus: &mut [Cpu<Scripted>], until_ns: u64, limit: usize) -> Vec<u64> {
        let mut said = Vec::new();
        let count = merge.take(cpus, until_ns, limit, read, |record| said.push(time(record, Some(8))));
        assert_eq!(count, said.len());
        said
    }

    fn cpus<const COUNT: usize>(records: [&[[u64; 2]]; COUNT]) -> [Cpu<Scripted>; COUNT] {
        records.map(|records| Cpu::new(records.iter().copied().collect()))
    }

    #[test]
    fn records_of_several_cpus_come_in_the_order_of_their_times() {
        let mut cpus = cpus([&[[10, 1], [40, 4]], &[], &[[20, 2], [30, 3], [50, 5]]]);
        assert_eq!(take(&mut Merge::new(Some(0)), &mut cpus, 100, 10), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_happened_after_the_look_began_waits_for_what_led_to_it() {
        let mut merge = Merge::new(Some(0));
        // The record of 20 was written to the other CPU when that had been looked at already.
        let mut cpus = cpus([&[[10, 1]], &[[30, 3]]]);
        assert_eq!(take(&mut merge, &mut cpus, 15, 10), [1]);
        cpus[0].reader.push_back([20, 2]);
        assert_eq!(take(&mut merge, &mut cpus, 30, 10), [2, 3]);
        assert_eq!(take(&mut merge, &mut cpus, 40, 10), [0_u64; 0]);
    }

    #[test]
    fn no_more_are_taken_than_asked_for_and_none_is_forgotten() {
        let mut merge = Merge::new(Some(0));
        let mut cpus = cpus([&[[10, 1], [30, 3]], &[[20, 2]]]);
        assert_eq!(take(&mut merge, &mut cpus, 100, 0), [0_u64; 0]);
        assert_eq!(take(&mut merge, &mut cpus, 100, 2), [1, 2]);
        assert_eq!(take(&mut merge, &mut cpus, 100, 2), [3]);
    }

    #[test]
    fn records_without_a_time_are_taken_at_once() {
        let mut cpus = cpus([&[[900, 1], [800, 2]], &[[700, 3]]]);
        let mut said = take(&mut Merge::new(None), &mut cpus, 0, 10);
        said.sort_unstable();
        assert_eq!(said, [1, 2, 3]);
    }

    proptest! {
        /// Each record is the next of all that happen; what is looked at and when is up to chance.
        #[test]
        fn however_it_is_looked_at_the_order_is_that_of_what_happened(
            on in prop::collection::vec(0..CPUS, 1..200),
            looks in prop::collection::vec((0..20_usize, 0..20_usize), 0..40),
        ) {
            let mut cpus: [Cpu<Scripted>; CPUS] = cpus([&[]; CPUS]);
            let mut merge = Merge::new(Some(0));
            let mut happening = on.iter().zip(1..).peekable();
            let mut said = Vec::new();
            let total = on.len();
            for (steps, limit) in looks.into_iter().chain([(total, total), (0, total)]) {
                let until_ns = happening.peek().map_or(u64::MAX, |(_, now)| *now) - 1;
                // These come while the buffers are looked at, one after the other.
                let mut missed = Vec::new();
                for (nth, (cpu, now)) in happening.by_ref().take(steps).enumerate() {
                    let has_looked = *cpu < nth * CPUS / steps;
                    if has_looked { missed.push((*cpu, now)) } else { cpus[*cpu].reader.push_back([now, now]) }
                }
                said.extend(take(&mut merge, &mut cpus, until_ns, limit));
                for (cpu, now) in missed {
                    cpus[cpu].reader.push_back([now, now]);
                }
            }
            said.extend(take(&mut merge, &mut cpus, u64::MAX, total));
            prop_assert_eq!(said, (1..=total as u64).collect::<Vec<_>>());
        }
    }
}
