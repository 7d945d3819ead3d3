//! Encodes records into blocks. Each block can be read by itself.

use bytes::{BufMut as _, BytesMut};

use super::{
    block::{BLOCK_BYTES, Block, IndexEntry},
    dictionary::Dictionary,
    entries::{TEXT, TOTALS},
    frame::{self, HEADER_BYTES, Kind, MAX_PAYLOAD},
    leaks,
    transitions::TransitionWriter,
    wire::put_varint,
};
use crate::model::record::{Record, Totals};

/// Encodes records; one for a session. What it is given goes into the present block until that is finished.
#[derive(Debug)]
pub struct BlockEncoder {
    dictionary: Dictionary,
    transitions: TransitionWriter,
    entry: IndexEntry,
}

impl Default for BlockEncoder {
    fn default() -> Self {
        let mut dictionary = Dictionary::default();
        frame::begin(&mut dictionary.bytes);
        Self { dictionary, transitions: TransitionWriter::default(), entry: IndexEntry::empty(0) }
    }
}

impl BlockEncoder {
    /// Adds a record. The header of the session is not given here: it is in the preamble.
    pub fn push(&mut self, record: &Record) {
        let time_ns = record.time().as_nanosecond();
        match record {
            Record::Transition(transition) => {
                self.transitions.put(&mut self.dictionary, time_ns, &transition.what);
            }
            Record::Leak(leak) => leaks::put_leak(&mut self.dictionary, leak),
            Record::LeakEnd(end) => leaks::put_leak_end(&mut self.dictionary, end),
            rare => self.dictionary.entry(TEXT, |entry| {
                // Writing into memory does not fail, and no record has keys that are no text.
                let _ = serde_json::to_writer(entry.writer(), rare);
            }),
        }
        let time_ns = i64::try_from(time_ns).unwrap_or(if time_ns < 0 { i64::MIN } else { i64::MAX });
        self.entry.earliest_ns = self.entry.earliest_ns.min(time_ns);
        self.entry.latest_ns = self.entry.latest_ns.max(time_ns);
        self.entry.records += 1;
        self.entry.has_summary |= record.is_summary();
        if self.dictionary.bytes.len() > MAX_PAYLOAD {
            // No reader would take such a block: its numbers will be missing.
            self.begin(self.entry.next_record());
        }
    }

    /// Length of the present block so far, in bytes; about what [`BlockEncoder::finish`] will return.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dictionary.bytes.len()
    }

    /// Records in the present block.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.entry.records
    }

    /// Whether no record is in the present block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entry.records == 0
    }

    /// Ends the present block and begins the next. `totals` are the session's counters so far.
    ///
    /// When the block cannot be written, nothing has to be said: its numbers are missing in the file.
    pub fn finish(&mut self, totals: &Totals) -> Block {
        let Totals {
            records,
            lost,
            undecodable,
            evicted,
            unattributed,
            openers_skipped,
            dropped,
            stacks_dropped,
            lost_skipped,
        } = *totals;
        self.dictionary.entry(TOTALS, |entry| {
            for counter in [records, lost, undecodable, evicted, unattributed, openers_skipped, dropped] {
                put_varint(entry, counter);
            }
            // Later than the rest: what is missing at the end is 0.
            if stacks_dropped > 0 || lost_skipped > 0 {
                put_varint(entry, stacks_dropped);
            }
            if lost_skipped > 0 {
                put_varint(entry, lost_skipped);
            }
        });
        let entry = self.entry;
        let bytes = frame::seal(self.begin(entry.next_record()), Kind::Records, &entry);
        Block { bytes, entry }
    }

    /// Begins a block with the record of this number; what the present one holds so far.
    fn begin(&mut self, next: u64) -> BytesMut {
        let bytes = self.dictionary.take();
        self.dictionary.bytes.reserve(BLOCK_BYTES + HEADER_BYTES);
        frame::begin(&mut self.dictionary.bytes);
        self.transitions.forget();
        self.entry = IndexEntry::empty(next);
        bytes
    }
}
