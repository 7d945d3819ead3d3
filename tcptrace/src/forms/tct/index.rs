//! The index at the end of a recording: the offset and the times of each block.

use bytes::{BufMut as _, Bytes, BytesMut};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{I64, U32, U64},
};

use super::{
    block::IndexEntry,
    frame::{self, HEADER_BYTES, Kind},
    wire::Malformed,
};

/// The last bytes of a recording that is complete.
const END_MAGIC: [u8; 8] = *b"\xfftct-end";

/// How many bytes at the end of a file tell where its index begins.
pub(crate) const TAIL_BYTES: usize = END_MAGIC.len() + size_of::<u32>();

/// Entries of an index at most; beyond, one entry stands for several blocks.
const MAX_ENTRIES: usize = 32_768;

/// An entry as it is written.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct IndexEntryBytes {
    offset: U64,
    first_record: U64,
    earliest_ns: I64,
    latest_ns: I64,
    records: U32,
    /// Bit 0: the session's summary is in it.
    flags: U32,
}

const _: () = assert!(size_of::<IndexEntryBytes>() == 40, "docs/format.md says so");

/// Adds a block to an index. The index stays bounded: in one that is full, neighbours are put together.
pub fn note(index: &mut Vec<(u64, IndexEntry)>, offset: u64, entry: IndexEntry) {
    if index.len() >= MAX_ENTRIES {
        *index = index.chunks(2).filter_map(together).collect();
    }
    index.push((offset, entry));
}

/// One entry for neighbours.
fn together(neighbours: &[(u64, IndexEntry)]) -> Option<(u64, IndexEntry)> {
    neighbours.iter().copied().reduce(|(offset, left), (_, right)| {
        let entry = IndexEntry {
            first_record: left.first_record,
            records: left.records.saturating_add(right.records),
            earliest_ns: left.earliest_ns.min(right.earliest_ns),
            latest_ns: left.latest_ns.max(right.latest_ns),
            has_summary: left.has_summary || right.has_summary,
        };
        (offset, entry)
    })
}

/// Bytes of a [`trailer`] with so many entries.
pub(crate) fn trailer_length(entries: usize) -> usize {
    HEADER_BYTES + entries.min(MAX_ENTRIES) * size_of::<IndexEntryBytes>() + TAIL_BYTES
}

/// What a file that is complete ends with. `index` are its blocks as [`note`] keeps them, in order, each with
/// its offset in the uncompressed file in bytes.
pub fn trailer(index: &[(u64, IndexEntry)]) -> Bytes {
    let mut block = BytesMut::with_capacity(trailer_length(index.len()));
    frame::begin(&mut block);
    for (offset, entry) in index.chunks(index.len().div_ceil(MAX_ENTRIES).max(1)).filter_map(together) {
        let IndexEntry { first_record, records, earliest_ns, latest_ns, has_summary } = entry;
        let entry = IndexEntryBytes {
            offset: offset.into(),
            first_record: first_record.into(),
            earliest_ns: earliest_ns.into(),
            latest_ns: latest_ns.into(),
            records: records.into(),
            flags: u32::from(has_summary).into(),
        };
        block.put_slice(entry.as_bytes());
    }
    // At a fixed distance from the end, so that the block can be found from there.
    block.put_u32_le(u32::try_from(block.len() + TAIL_BYTES).unwrap_or(u32::MAX));
    block.put_slice(&END_MAGIC);
    let next = index.last().map_or(0, |(_, entry)| entry.next_record());
    frame::seal(block, Kind::Index, &IndexEntry::empty(next))
}

/// How many bytes before the end of a file its index begins, when these are its last [`TAIL_BYTES`]; `None`
/// when it has no index.
pub(crate) fn index_length(tail: &[u8]) -> Option<usize> {
    let (length, magic) = tail.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    (*magic == END_MAGIC && length >= HEADER_BYTES + TAIL_BYTES).then_some(length)
}

/// Reads the payload of an index.
///
/// # Errors
/// When it is not one.
pub(crate) fn parse_index(payload: &[u8]) -> Result<Vec<(u64, IndexEntry)>, Malformed> {
    let length = payload.len().checked_sub(TAIL_BYTES).ok_or(Malformed("an index is too short"))?;
    let entries = payload.get(..length).unwrap_or_default();
    let entries = <[IndexEntryBytes]>::ref_from_bytes(entries)
        .map_err(|_| Malformed("an index does not consist of entries"))?;
    let read = |entry: &IndexEntryBytes| {
        let described = IndexEntry {
            first_record: entry.first_record.get(),
            records: entry.records.get(),
            earliest_ns: entry.earliest_ns.get(),
            latest_ns: entry.latest_ns.get(),
            has_summary: entry.flags.get() & 1 != 0,
        };
        (entry.offset.get(), described)
    };
    Ok(entries.iter().map(read).collect())
}
