//! The opening of a recording (format, version, writer) and the header of its session.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    block::{IndexEntry, VERSION},
    frame::{self, Kind},
    wire::{Input, Malformed},
};
use crate::model::record::{Header, Record};

/// What a recording begins with, in every version. 0xff and the line ends show whether it went through something that
/// takes it for text.
pub(crate) const FILE_MAGIC: [u8; 8] = *b"\xfftct\r\n\x1a\n";

/// Longest name of a writer, in bytes.
const MAX_WRITER: usize = 255;

/// Bytes before the first block at most.
pub(crate) const MAX_OPENING: usize = FILE_MAGIC.len() + 2 + 2 + MAX_WRITER + 4;

/// What every file of a session begins with, those after a rotation too. The header is in it: it is not to be
/// given to a [`BlockEncoder`](crate::forms::tct::encoder::BlockEncoder) as well.
#[must_use]
pub fn preamble(header: &Header) -> Bytes {
    let writer = format!("tcptrace {}", header.version);
    let writer = writer.get(..writer.floor_char_boundary(MAX_WRITER)).unwrap_or_default();
    let mut bytes = BytesMut::new();
    bytes.put_slice(&FILE_MAGIC);
    bytes.put_u16_le(VERSION);
    bytes.put_u16_le(u16::try_from(writer.len()).unwrap_or(u16::MAX));
    bytes.put_slice(writer.as_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.put_u32_le(checksum);

    let mut block = BytesMut::new();
    frame::begin(&mut block);
    // Writing into memory does not fail, and a header has no keys that are no text.
    block.put_slice(&serde_json::to_vec(&Record::Header(Box::new(header.clone()))).unwrap_or_default());
    bytes.put_slice(&frame::seal(block, Kind::Header, &IndexEntry::empty(0)));
    bytes.freeze()
}

/// What the beginning of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// More bytes are needed to tell.
    Short,
    /// No recording, or a damaged beginning.
    Other,
    Recording {
        /// The version of its format.
        version: u16,
        /// Who wrote it: a name and a version.
        writer: String,
        /// Bytes until the first block.
        length: usize,
    },
}

/// Reads the beginning of a file, up to its first block.
pub(crate) fn opening(bytes: &[u8]) -> Opening {
    let shown = bytes.len().min(FILE_MAGIC.len());
    if bytes.get(..shown) != FILE_MAGIC.get(..shown) {
        return Opening::Other;
    }
    let parts = || {
        let mut input = Input(bytes);
        input.bytes(FILE_MAGIC.len() as u64)?;
        let version = u16::from_le_bytes(input.array()?);
        let length = usize::from(u16::from_le_bytes(input.array()?));
        if length > MAX_WRITER {
            return Ok(None);
        }
        let writer = input.bytes(length as u64)?;
        let checked = bytes.len() - input.0.len();
        let checksum = u32::from_le_bytes(input.array()?);
        let is_whole = bytes.get(..checked).map(crc32fast::hash) == Some(checksum);
        let writer = String::from_utf8_lossy(writer).into_owned();
        let length = checked + size_of_val(&checksum);
        Ok::<_, Malformed>(is_whole.then_some(Opening::Recording { version, writer, length }))
    };
    match parts() {
        Ok(Some(recording)) => recording,
        Ok(None) => Opening::Other,
        Err(_) => Opening::Short,
    }
}
