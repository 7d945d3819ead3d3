//! Turns records into chunks of whole records, in one form. Does no I/O, and decides nothing about when a
//! chunk is to be written.

use std::fmt;

use super::tct::{self as recording, IndexEntry, encoder::BlockEncoder};
use super::{csv, format::Format, jsonl, palette::Palette, text};
use crate::model::record::{Header, Record, Totals};

/// Records in the form of a file, to be written in one piece.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// What goes into the file.
    pub bytes: Vec<u8>,
    /// Records in it.
    pub records: u64,
    /// The blocks of a recording in it, each with the offset at which it begins.
    pub blocks: Vec<(usize, IndexEntry)>,
}

/// Encodes records in one form.
pub(crate) struct Encoder {
    form: Form,
    /// Room that a chunk is given from its beginning, in bytes.
    room: usize,
    chunk: Chunk,
}

enum Form {
    Text {
        palette: Palette,
        /// Whether everything has been said.
        is_complete: bool,
    },
    Jsonl(jsonl::Lines),
    Csv(Box<csv::Table>),
    Tct(Box<BlockEncoder>),
}

impl fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an encoder with {} records", self.chunk.records)
    }
}

impl Encoder {
    /// An encoder for chunks of about so many bytes; text is coloured by the palette.
    pub(crate) fn new(format: Format, palette: Palette, room: usize) -> Self {
        let form = match format {
            Format::Text => Form::Text { palette, is_complete: false },
            Format::Jsonl => Form::Jsonl(jsonl::Lines::default()),
            Format::Csv => Form::Csv(Box::new(csv::Table::new())),
            Format::Tct => Form::Tct(Box::default()),
        };
        Self { form, room, chunk: Chunk::default() }
    }

    /// What every file of the session begins with.
    pub(crate) fn preamble(&mut self, header: &Header) -> Vec<u8> {
        match &mut self.form {
            Form::Text { .. } => text::preamble(header).into_bytes(),
            Form::Jsonl(lines) => {
                let mut line = Vec::new();
                lines.push(&mut line, &Record::Header(Box::new(header.clone())));
                line
            }
            Form::Csv(_) => csv::Table::heading(),
            Form::Tct(_) => recording::preamble(header).to_vec(),
        }
    }

    /// Adds a record; the counters are those of the session so far.
    pub(crate) fn push(&mut self, record: &Record, totals: &Totals) {
        let Self { form, chunk, room } = self;
        if chunk.bytes.capacity() == 0 && !matches!(form, Form::Csv(_)) {
            chunk.bytes.reserve(*room);
        }
        match form {
            Form::Text { is_complete: true, .. } => return,
            // Memory takes everything.
            Form::Text { palette, .. } => drop(text::write(&mut chunk.bytes, record, palette)),
            Form::Jsonl(lines) => lines.push(&mut chunk.bytes, record),
            Form::Csv(table) => {
                if !table.push(record) {
                    return;
                }
            }
            Form::Tct(blocks) => {
                blocks.push(record);
                if blocks.len() >= recording::BLOCK_BYTES {
                    finish_block(blocks, chunk, totals);
                }
            }
        }
        chunk.records += 1;
    }

    /// Adds what the text form says of something that the other forms say in records; in those it adds nothing. With
    /// `is_all` it is all that text says of the session.
    pub(crate) fn push_text(
        &mut self,
        is_all: bool,
        write: impl FnOnce(&mut Vec<u8>, &Palette) -> std::io::Result<()>,
    ) {
        let Form::Text { palette, is_complete } = &mut self.form else { return };
        *is_complete = is_all;
        // Memory takes everything.
        let _ = write(&mut self.chunk.bytes, palette);
        self.chunk.records += 1;
    }

    /// Bytes that wait, or about so many.
    pub(crate) fn len(&self) -> usize {
        match &self.form {
            Form::Text { .. } | Form::Jsonl(_) => self.chunk.bytes.len(),
            Form::Csv(table) => table.len(),
            Form::Tct(blocks) => self.chunk.bytes.len() + blocks.len(),
        }
    }

    /// Whether no record waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunk.records == 0
    }

    /// Takes out what waits.
    pub(crate) fn take(&mut self, totals: &Totals) -> Chunk {
        match &mut self.form {
            Form::Text { .. } | Form::Jsonl(_) => {}
            Form::Csv(table) => self.chunk.bytes = table.take(),
            Form::Tct(blocks) => finish_block(blocks, &mut self.chunk, totals),
        }
        std::mem::take(&mut self.chunk)
    }
}

fn finish_block(blocks: &mut BlockEncoder, chunk: &mut Chunk, totals: &Totals) {
    if blocks.is_empty() {
        return;
    }
    let block = blocks.finish(totals);
    chunk.blocks.push((chunk.bytes.len(), block.entry));
    chunk.bytes.extend_from_slice(&block.bytes);
}
