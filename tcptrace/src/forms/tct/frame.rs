//! The frame of a block: its kind, length and checksums. Knows nothing of the payload.

use bytes::{Bytes, BytesMut};
use zerocopy::{
    FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{I64, U16, U32, U64},
};

use super::block::{IndexEntry, VERSION};

/// What a block begins with. 0xff is in no UTF-8 text, so no name that a stranger chose can look like a block.
pub(crate) const MAGIC: [u8; 4] = [0xff, b't', b'c', VERSION.to_le_bytes()[0]];

/// Length of [`BlockHeader`], in bytes.
pub const HEADER_BYTES: usize = size_of::<BlockHeader>();

/// Longest payload of a block, in bytes: a summary of a thousand processes with all their peers and stacks fits.
pub(crate) const MAX_PAYLOAD: usize = 32 << 20;

/// The session's summary is in the block.
const HAS_SUMMARY: u8 = 1;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The header of the session.
    Header = 1,
    Records = 2,
    Index = 3,
}

/// What stands before the payload of a block.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct BlockHeader {
    magic: [u8; 4],
    /// CRC-32 of what follows in the header.
    header_checksum: U32,
    /// CRC-32 of the payload.
    payload_checksum: U32,
    length: U32,
    kind: u8,
    flags: u8,
    reserved: U16,
    records: U32,
    first_record: U64,
    earliest_ns: I64,
    latest_ns: I64,
}

const _: () = assert!(HEADER_BYTES == 48, "docs/format.md says so");

impl BlockHeader {
    /// Reads what bytes begin with; `None` when that is no header of a block.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, _) = Self::read_from_prefix(bytes).ok()?;
        let is_whole = header.magic == MAGIC
            && header.header_checksum.get() == header.own_checksum()
            && header.payload_bytes() <= MAX_PAYLOAD;
        is_whole.then_some(header)
    }

    /// Checks the payload that was read.
    pub(crate) fn matches(&self, payload: &[u8]) -> bool {
        self.payload_bytes() == payload.len() && self.payload_checksum.get() == crc32fast::hash(payload)
    }

    /// Length of the payload, in bytes.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.length.get() as usize
    }

    /// Whether the block is of this kind. A reader skips blocks of unknown kinds.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u8
    }

    /// What an index would say of the block.
    pub(crate) fn entry(&self) -> IndexEntry {
        IndexEntry {
            first_record: self.first_record.get(),
            records: self.records.get(),
            earliest_ns: self.earliest_ns.get(),
            latest_ns: self.latest_ns.get(),
            has_summary: self.flags & HAS_SUMMARY != 0,
        }
    }

    fn own_checksum(&self) -> u32 {
        crc32fast::hash(self.as_bytes().get(8..).unwrap_or_default())
    }
}

/// Room for the header, to be filled in by [`seal`].
pub(crate) fn begin(block: &mut BytesMut) {
    block.resize(HEADER_BYTES, 0);
}

/// Fills in the header of a block whose payload is complete.
pub(crate) fn seal(mut block: BytesMut, kind: Kind, entry: &IndexEntry) -> Bytes {
    let IndexEntry { first_record, records, earliest_ns, latest_ns, has_summary } = *entry;
    if let Some((place, payload)) = block.split_at_mut_checked(HEADER_BYTES) {
        let mut header = BlockHeader {
            magic: MAGIC,
            payload_checksum: crc32fast::hash(payload).into(),
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX).into(),
            kind: kind as u8,
            flags: if has_summary { HAS_SUMMARY } else { 0 },
            records: records.into(),
            first_record: first_record.into(),
            earliest_ns: earliest_ns.into(),
            latest_ns: latest_ns.into(),
            ..BlockHeader::new_zeroed()
        };
        header.header_checksum = header.own_checksum().into();
        place.copy_from_slice(header.as_bytes());
    }
    block.freeze()
}
