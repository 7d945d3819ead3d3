//! A second reader of recordings, written from the description of the format alone: it shares no line with the tool,
//! so that a mistake which the tool's writer and reader have in common comes to light.
//!
//! It checks every checksum, number, count, time and index entry, and fails the test where they contradict each
//! other. It decodes no record any further than that takes.

mod entries;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use entries::Entries;

const OPENING: &[u8] = b"\xfftct\r\n\x1a\n";
const BLOCK: &[u8] = b"\xfftc\x01";
const HEADER_BYTES: usize = 48;
const INDEX_ENTRY_BYTES: usize = 40;
const INDEX_END: &[u8] = b"\xfftct-end";
const MOST_PAYLOAD_BYTES: usize = 32 << 20;

/// What a recording holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// How many records of each type are in whole blocks, headers included.
    pub records: BTreeMap<String, u64>,
    /// The number of the first record that is there.
    pub first: u64,
    /// Records whose numbers are between those of whole blocks, and which are not there.
    pub gaps: u64,
    /// Bytes that belong to no whole block.
    pub unread: usize,
    /// `records`, `lost`, `undecodable`, `evicted`, `unattributed`, `openers_skipped`, `dropped`, `stacks_dropped`, `lost_skipped` of the last block.
    pub totals: [u64; 9],
    pub has_index: bool,
}

/// What the header of a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    at: usize,
    kind: u8,
    has_summary: bool,
    records: u64,
    number: u64,
    earliest: i64,
    latest: i64,
}

/// What stands behind the header of a block.
#[derive(Clone, Copy)]
enum Payload<'a> {
    Whole(&'a [u8]),
    Damaged,
    Cut,
}

/// Whether these bytes, decompressed, are a recording or the beginning of one.
pub(crate) fn is_recording(content: &[u8]) -> bool {
    content.starts_with(OPENING)
}

/// Walks through a recording, and fails the test where it breaks a promise of the format.
pub(crate) fn walk(content: &[u8], path: &Path) -> Walk {
    let (mut walk, mut blocks) = (Walk::default(), Vec::new());
    let (mut session, mut next, mut at) = (Value::Null, None, 0);
    while at < content.len() {
        let here = || format!("{}, byte {at}", path.display());
        if let Some(length) = opening(&content[at..]) {
            at += length;
            continue;
        }
        let found = block(content, at);
        if let Some((extent, Payload::Damaged)) = found.filter(|(extent, _)| extent.kind == 2) {
            // The header still says which records are missing.
            next.get_or_insert_with(|| begin(&mut walk, extent.number));
        }
        let Some((extent, Payload::Whole(payload))) = found else {
            // The search for the next block begins behind the first byte of what is damaged.
            (at, walk.unread) = (at + 1, walk.unread + 1);
            continue;
        };
        match extent.kind {
            1 => {
                let header: Value = serde_json::from_slice(payload).expect("a header in JSON");
                assert_eq!((&header["type"], extent.number), (&"header".into(), 0), "{}", here());
                if header != session {
                    (session, next) = (header, None);
                    *walk.records.entry("header".to_owned()).or_default() += 1;
                }
            }
            2 => {
                let found = Entries::of(payload);
                assert_eq!(found.count(), extent.records, "{}: records in the block", here());
                assert_eq!((found.earliest, found.latest), (extent.earliest, extent.latest), "{}", here());
                assert_eq!(found.records.contains_key("summary"), extent.has_summary, "{}", here());
                walk.totals = found.totals.unwrap_or_else(|| panic!("{}: no totals at the end", here()));
                for (kind, count) in found.records {
                    *walk.records.entry(kind).or_default() += count;
                }
                let from = *next.get_or_insert_with(|| begin(&mut walk, extent.number));
                assert!(from <= extent.number, "{}: record {} comes twice", here(), extent.number);
                walk.gaps += extent.number - from;
                next = Some(extent.number + extent.records);
                blocks.push(extent);
            }
            3 => {
                // An index knows of blocks that were damaged after it was written.
                check_index(payload, (walk.unread == 0).then_some(&blocks), &here());
                assert!(next.is_none_or(|next| next <= extent.number), "{}: number of the index", here());
                walk.gaps += next.map_or(0, |next| extent.number - next);
                next = Some(extent.number);
                walk.has_index = true;
            }
            _ => {}
        }
        at += HEADER_BYTES + payload.len();
    }
    walk
}

/// Notes with which number the records of a session begin in this file.
fn begin(walk: &mut Walk, number: u64) -> u64 {
    walk.first = number;
    number
}

/// The length of a whole opening.
fn opening(bytes: &[u8]) -> Option<usize> {
    let fixed = bytes.get(..12).filter(|fixed| fixed.starts_with(OPENING))?;
    assert_eq!(fixed[8..10], [1, 0], "the version of the format");
    let end = 12 + usize::from(u16::from_le_bytes([fixed[10], fixed[11]]));
    let checksum = bytes.get(end..end + 4)?;
    (crc32fast::hash(&bytes[..end]).to_le_bytes() == checksum).then_some(end + 4)
}

/// The block that begins here, if its header is whole.
fn block(content: &[u8], at: usize) -> Option<(Extent, Payload<'_>)> {
    let header = content[at..].get(..HEADER_BYTES).filter(|header| header.starts_with(BLOCK))?;
    let short = |from: usize| u32::from_le_bytes(header[from..from + 4].try_into().unwrap());
    let long = |from: usize| u64::from_le_bytes(header[from..from + 8].try_into().unwrap());
    let (length, flags) = (short(12) as usize, header[17]);
    if crc32fast::hash(&header[8..]) != short(4) {
        return None;
    }
    assert!(length <= MOST_PAYLOAD_BYTES, "byte {at}: a payload of {length} bytes");
    assert_eq!((flags & !1, &header[18..20]), (0, &[0, 0][..]), "byte {at}: what version 1 does not use");
    let extent = Extent {
        at,
        kind: header[16],
        has_summary: flags == 1,
        records: short(20).into(),
        number: long(24),
        earliest: long(32).cast_signed(),
        latest: long(40).cast_signed(),
    };
    let is_empty = (extent.records, extent.earliest, extent.latest) == (0, i64::MAX, i64::MIN);
    assert!(extent.kind == 2 || is_empty, "byte {at}: a block without records has some: {extent:?}");
    let payload = match content[at + HEADER_BYTES..].get(..length) {
        None => Payload::Cut,
        Some(payload) if crc32fast::hash(payload) == short(8) => Payload::Whole(payload),
        Some(_) => Payload::Damaged,
    };
    Some((extent, payload))
}

/// Checks that each entry of an index sums up the blocks of records from its offset to the next entry's.
fn check_index(payload: &[u8], blocks: Option<&Vec<Extent>>, here: &str) {
    let (entries, end) = payload.split_at(payload.len().checked_sub(12).expect("the end of an index"));
    assert_eq!(&end[4..], INDEX_END, "{here}: the end of an index");
    let length = u32::from_le_bytes(end[..4].try_into().unwrap()) as usize;
    assert_eq!(length, HEADER_BYTES + payload.len(), "{here}: the length of the index");
    assert_eq!(entries.len() % INDEX_ENTRY_BYTES, 0, "{here}: a part of an entry");
    let Some(blocks) = blocks else { return };
    let mut blocks = blocks.iter().copied().peekable();
    let mut entries = entries.chunks(INDEX_ENTRY_BYTES).peekable();
    while let Some(entry) = entries.next() {
        let long = |from: usize| u64::from_le_bytes(entry[from..from + 8].try_into().unwrap());
        let short = |from: usize| u32::from_le_bytes(entry[from..from + 4].try_into().unwrap());
        let end = entries.peek().map_or(u64::MAX, |next| u64::from_le_bytes(next[..8].try_into().unwrap()));
        let mut extent = blocks.next().unwrap_or_else(|| panic!("{here}: more entries than blocks"));
        while let Some(more) = blocks.next_if(|block| (block.at as u64) < end) {
            extent.records += more.records;
            extent.earliest = extent.earliest.min(more.earliest);
            extent.latest = extent.latest.max(more.latest);
            extent.has_summary |= more.has_summary;
        }
        let is =
            (extent.at as u64, extent.number, extent.earliest.cast_unsigned(), extent.latest.cast_unsigned());
        assert_eq!((long(0), long(8), long(16), long(24)), is, "{here}: an entry of the index");
        assert_eq!(
            (u64::from(short(32)), short(36)),
            (extent.records, extent.has_summary.into()),
            "{here}: {extent:?}"
        );
    }
    assert_eq!(blocks.next(), None, "{here}: blocks without an entry");
}
