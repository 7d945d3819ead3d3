//! Encodes records into blocks, each readable by itself.

use bytes::Bytes;

use super::{Block, IndexEntry};
use crate::record::{Record, Totals};

/// Encodes records; one for a session. What it is given goes into the present block until that is finished.
#[derive(Debug, Default)]
pub struct BlockEncoder {
    first_record: u64,
    records: u32,
    bytes: Vec<u8>,
}

impl BlockEncoder {
    /// Adds a record. The header of the session is not given here: it is in the preamble.
    pub fn push(&mut self, record: &Record) {
        let _ = record;
        self.records += 1;
    }

    /// Notes that so many records of the session are dropped at this place: they keep their numbers, and readers are told.
    pub fn skip(&mut self, records: u64) {
        let _ = records;
    }

    /// Length of the present block so far, in bytes; about what [`BlockEncoder::finish`] will return.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Records in the present block.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Whether nothing would be lost without the present block: neither a record nor the note of a dropped one is in it.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Ends the present block and begins the next. `totals` are the session's counters so far.
    ///
    /// When the block cannot be written, nothing has to be said: its numbers are missing in the file.
    pub fn finish(&mut self, totals: &Totals) -> Block {
        let _ = totals;
        let entry = IndexEntry {
            first_record: self.first_record,
            records: self.records,
            earliest_ns: i64::MAX,
            latest_ns: i64::MIN,
            has_summary: false,
        };
        self.first_record += u64::from(self.records);
        self.records = 0;
        Block { bytes: Bytes::from(std::mem::take(&mut self.bytes)), entry }
    }
}
