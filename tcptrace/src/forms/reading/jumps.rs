//! Which parts of a `.tct` file lie outside a range of time and can be skipped: by the index at the end, or,
//! without one, by the headers of the blocks.

use std::collections::VecDeque;

use super::{range::TimeRange, source::Source};
use crate::forms::tct::{
    block::IndexEntry,
    frame::{BlockHeader, HEADER_BYTES, Kind, MAX_PAYLOAD},
    index::{TAIL_BYTES, index_length, note, parse_index},
    preamble::{MAX_OPENING, Opening, opening},
};

/// Blocks with their offsets, and the offset at which what they tell of ends.
#[derive(Debug, PartialEq, Eq)]
struct RecordingIndex {
    blocks: Vec<(u64, IndexEntry)>,
    end: u64,
}

/// Parts of the file to skip: beginning and end of each, first to last. Empty unless it is a regular file.
pub(crate) fn jumps(source: &Source, range: TimeRange) -> VecDeque<(u64, u64)> {
    let index = written(source).or_else(|| rebuilt(source));
    let Some(RecordingIndex { blocks, end }) = index.filter(|_| !range.is_everything()) else {
        return VecDeque::new();
    };
    let mut jumps: VecDeque<(u64, u64)> = VecDeque::new();
    let ends = blocks.iter().skip(1).map(|(offset, _)| *offset).chain([end]);
    for ((begin, entry), end) in blocks.iter().zip(ends) {
        if range.touches(entry) {
            continue;
        }
        match jumps.back_mut() {
            Some((_, last)) if *last == *begin => *last = end,
            _ => jumps.push_back((*begin, end)),
        }
    }
    jumps
}

/// The index that a complete file ends with.
fn written(source: &Source) -> Option<RecordingIndex> {
    let length = source.length()?;
    let tail = source.read_at(length.checked_sub(TAIL_BYTES as u64)?, TAIL_BYTES)?;
    let index_length = index_length(&tail).filter(|length| *length <= HEADER_BYTES + MAX_PAYLOAD)?;
    let end = length.checked_sub(index_length as u64)?;
    let block = source.read_at(end, index_length)?;
    let (payload, header) = (block.get(HEADER_BYTES..)?, BlockHeader::parse(&block)?);
    let blocks = parse_index(payload).ok().filter(|_| header.is(Kind::Index) && header.matches(payload))?;
    // Something may have been put into the file, or taken from it.
    let is_true = |(offset, entry): &(u64, IndexEntry)| {
        let header = source.read_at(*offset, HEADER_BYTES).and_then(|bytes| BlockHeader::parse(&bytes));
        header.is_some_and(|header| {
            header.is(Kind::Records) && header.entry().first_record == entry.first_record
        })
    };
    let offsets = || blocks.iter().map(|(offset, _)| *offset).chain([end]);
    let are_in_order = offsets().zip(offsets().skip(1)).all(|(one, next)| one < next);
    (are_in_order && blocks.iter().all(is_true)).then_some(RecordingIndex { blocks, end })
}

/// An index of the blocks up to the first that is damaged or not whole.
fn rebuilt(source: &Source) -> Option<RecordingIndex> {
    let length = source.length()?;
    let begun = source.read_at(0, usize::try_from(length.min(MAX_OPENING as u64)).ok()?)?;
    let Opening::Recording { length: opening, .. } = opening(&begun) else { return None };
    let mut index = RecordingIndex { blocks: Vec::new(), end: opening as u64 };
    while let Some(header) =
        source.read_at(index.end, HEADER_BYTES).and_then(|bytes| BlockHeader::parse(&bytes))
    {
        let next = index.end + (HEADER_BYTES + header.payload_bytes()) as u64;
        if next > length {
            break;
        }
        if header.is(Kind::Records) {
            note(&mut index.blocks, index.end, header.entry());
        }
        index.end = next;
    }
    Some(index)
}
