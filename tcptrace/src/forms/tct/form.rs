//! The recording as a form: blocks of records, and at the end of a file an index of them.

use super::{
    block::{BLOCK_BYTES, IndexEntry},
    encoder::BlockEncoder,
    frame::{BlockHeader, HEADER_BYTES},
    index::{note, trailer, trailer_length},
    preamble::{FILE_MAGIC, preamble},
};
use crate::{
    forms::form::{Ability, Buffer, EncoderSettings, Form, Format, Trailer},
    model::record::{Header, Record, Totals},
};

/// The description of the form.
pub(crate) static FORMAT: Format = Format {
    name: "tct",
    help: "The binary recording that `report` reads back",
    endings: &["tct"],
    beginning: &FILE_MAGIC,
    abilities: &[Ability::Summary, Ability::ForReport],
    encoder: |EncoderSettings { room, palette: _ }| {
        Box::new(Recording { blocks: BlockEncoder::default(), buffer: Buffer::new(room) })
    },
    trailer: Some(|| Box::new(Index::default())),
};

struct Recording {
    /// The block that is being filled.
    blocks: BlockEncoder,
    /// The blocks before it.
    buffer: Buffer,
}

impl Recording {
    fn finish_block(&mut self, totals: &Totals) {
        if !self.blocks.is_empty() {
            self.buffer.out().extend_from_slice(&self.blocks.finish(totals).bytes);
        }
    }
}

impl Form for Recording {
    fn preamble(&mut self, header: &Header) -> Vec<u8> {
        preamble(header).to_vec()
    }

    fn push(&mut self, record: &Record, totals: &Totals) -> bool {
        self.blocks.push(record);
        if self.blocks.len() >= BLOCK_BYTES {
            self.finish_block(totals);
        }
        true
    }

    fn len(&self) -> usize {
        self.buffer.len() + self.blocks.len()
    }

    fn take(&mut self, totals: &Totals) -> Vec<u8> {
        self.finish_block(totals);
        self.buffer.take()
    }
}

/// The index of a file, from the headers of its blocks.
#[derive(Debug, Default)]
struct Index {
    blocks: Vec<(u64, IndexEntry)>,
}

impl Trailer for Index {
    fn follow(&mut self, offset: u64, chunk: &[u8]) {
        for (at, entry) in blocks(chunk) {
            note(&mut self.blocks, offset + at as u64, entry);
        }
    }

    fn length_after(&self, chunk: &[u8]) -> usize {
        trailer_length(self.blocks.len() + blocks(chunk).count())
    }

    fn bytes(&self) -> Vec<u8> {
        trailer(&self.blocks).to_vec()
    }
}

/// The blocks of a chunk, each with its offset in it.
fn blocks(chunk: &[u8]) -> impl Iterator<Item = (usize, IndexEntry)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = BlockHeader::parse(chunk.get(at..)?)?;
        let block = (at, header.entry());
        at += HEADER_BYTES + header.payload_bytes();
        Some(block)
    })
}
