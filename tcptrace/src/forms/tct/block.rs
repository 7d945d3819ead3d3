//! A block of a recording, and what an index says of it. Values only.

use bytes::Bytes;

/// The version of the format that is written. Every version up to this one is read.
pub(crate) const VERSION: u16 = 1;

/// A block is worth finishing when it has come to this many bytes: its dictionaries have paid by then, and a damaged
/// block costs no more than some ten thousand records.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// A finished block, which is written in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What goes into the file.
    pub bytes: Bytes,
    /// What the index says of it.
    pub entry: IndexEntry,
}

/// What the index of a recording says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The number of its first record; the first record of a session after its header has 0.
    pub first_record: u64,
    pub records: u32,
    /// The earliest time of its records, in nanoseconds since 1970; `i64::MAX` when it has none.
    pub earliest_ns: i64,
    /// The latest time of its records; `i64::MIN` when it has none.
    pub latest_ns: i64,
    /// Whether the summary of the session is in it.
    pub has_summary: bool,
}

impl IndexEntry {
    /// The number after that of its last record.
    pub fn next_record(&self) -> u64 {
        self.first_record.saturating_add(self.records.into())
    }

    /// Of a block without records, at this number.
    pub(super) fn empty(at: u64) -> Self {
        Self { first_record: at, records: 0, earliest_ns: i64::MAX, latest_ns: i64::MIN, has_summary: false }
    }
}
