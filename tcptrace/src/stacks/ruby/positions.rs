//! Finds the entry of an instruction in the table that Ruby keeps of where entries begin: a set of bits with counts of those
//! before them (`succ_index_table` and `succ_index_lookup` of iseq.c, 2.6 to 3.4).

use crate::stacks::memory::{ProcessMemory, u32_at, u64_at};

/// Positions that the head of the table has: six words, each with the counts of nine in seven bits each.
const IN_HEAD: u32 = 54;
const IN_WORD: u32 = 9;
const COUNT_BITS: u32 = 7;
const HEAD_BYTES: u64 = 48;

/// Positions of a block behind that: the count before the block (4 bytes), counts before each word but the first (nine bits each,
/// at byte 8), and eight words of bits (at byte 16).
const IN_BLOCK: u32 = 512;
const BLOCK_BYTES: usize = 80;
const COUNTS: u32 = 8;
const RANK_BITS: u32 = 9;
const WORDS: u32 = 16;

/// How many entries begin at or before a position. Of a table that makes no sense, any number.
pub(super) fn rank(memory: &ProcessMemory, table: u64, position: u32) -> Option<u32> {
    let Some(behind) = position.checked_sub(IN_HEAD) else {
        let word = table.checked_add(u64::from(position / IN_WORD) * 8)?;
        let counts = memory.read(word).map(u64::from_ne_bytes)?;
        return count(counts, position % IN_WORD, COUNT_BITS);
    };
    let start = table.checked_add(HEAD_BYTES + u64::from(behind / IN_BLOCK) * BLOCK_BYTES as u64)?;
    let block: [u8; BLOCK_BYTES] = memory.read(start)?;
    let (word, bit) = (behind % IN_BLOCK / 64, behind % 64);
    let before = match word.checked_sub(1) {
        None => 0,
        Some(nth) => count(u64_at(&block, COUNTS)?, nth, RANK_BITS)?,
    };
    let bits = u64_at(&block, WORDS + word * 8)? << (63 - bit);
    u32_at(&block, 0)?.checked_add(before)?.checked_add(bits.count_ones())
}

/// One of the counts in a word, of so many bits each.
fn count(counts: u64, nth: u32, bits: u32) -> Option<u32> {
    u32::try_from(counts >> (nth * bits) & ((1 << bits) - 1)).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
pub(super) mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _};

    use proptest::prelude::*;

    use super::*;

    /// The table of a sequence of so many words whose entries begin at these positions, as Ruby makes it
    /// (`succ_index_table_create` of iseq.c).
    pub(in crate::stacks::ruby) fn table(begins: &[u32], words: u32) -> Vec<u8> {
        let rank = |position: u32| begins.iter().filter(|begin| **begin <= position).count() as u64;
        let head = (0..6_u32).flat_map(|word| {
            let counts = (0..9).map(|nth| rank(word * 9 + nth) << (7 * nth));
            counts.fold(0, |all, count| all | count).to_ne_bytes()
        });
        let mut table: Vec<u8> = head.collect();
        for block in 0..words.saturating_sub(54).div_ceil(512) {
            let first = 54 + block * 512;
            let before = rank(first - 1);
            table.extend(before.to_ne_bytes());
            let counts = (1..8).map(|word| (rank(first + word * 64 - 1) - before) << (9 * (word - 1)));
            table.extend(counts.fold(0, |all, count| all | count).to_ne_bytes());
            for word in 0..8 {
                let of_word = (0..64).filter(|bit| begins.contains(&(first + word * 64 + bit)));
                table.extend(of_word.fold(0_u64, |bits, bit| bits | 1 << bit).to_ne_bytes());
            }
        }
        table
    }

    fn planted(table: &[u8]) -> ProcessMemory {
        let memory: File = tempfile::tempfile().unwrap();
        memory.write_all_at(table, 0x1000).unwrap();
        ProcessMemory::planted(memory)
    }

    #[test]
    fn a_table_that_ends_early_tells_nothing() {
        let memory = planted(&table(&[0, 3], 54));
        assert_eq!((rank(&memory, 0x1000, 2), rank(&memory, 0x1000, 53)), (Some(1), Some(2)));
        assert_eq!(rank(&memory, 0x1000, 54), None);
        assert_eq!(rank(&memory, u64::MAX, 54), None);
        assert_eq!(rank(&memory, 0x1000, u32::MAX), None);
    }

    proptest! {
        #[test]
        fn each_position_belongs_to_the_entry_that_begins_before_it(
            begins in proptest::collection::btree_set(0_u32..1_600, 1..60)
        ) {
            let begins: Vec<u32> = begins.into_iter().collect();
            let memory = planted(&table(&begins, 1_600));
            for position in 0..1_600 {
                let expected = begins.iter().filter(|begin| **begin <= position).count();
                prop_assert_eq!(rank(&memory, 0x1000, position), u32::try_from(expected).ok(), "{}", position);
            }
        }

        #[test]
        fn any_table_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), position: u32) {
            let memory = planted(&bytes);
            rank(&memory, 0x1000, position);
            rank(&memory, 0x1000, position % 600);
        }
    }
}
