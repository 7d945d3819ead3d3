//! Reads the blocks of a `.tct` recording. Checks each, and skips damage up to the next whole block.

use std::collections::VecDeque;

use super::{error::ReadError, losses::Losses, numbers::Numbers, range::TimeRange, stream::Stream};
use crate::{
    forms::{
        jsonl::parse::ParseError,
        tct::{
            block::VERSION,
            decoder::{BlockDecoder, Item},
            frame::{BlockHeader, HEADER_BYTES, Kind},
            preamble::{FILE_MAGIC, MAX_OPENING, Opening, opening},
        },
    },
    model::record::Record,
};

/// What blocks and the beginnings of files have in common: no text can hold it.
const MARK: &[u8] = b"\xfftc";

/// Reads blocks.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    present: Option<Present>,
    numbers: Numbers,
    /// The reader is skipping bytes that belong to no block.
    is_lost: bool,
    /// Parts of the file to skip.
    jumps: VecDeque<(u64, u64)>,
}

/// The block that is being read.
#[derive(Debug)]
struct Present {
    decoder: BlockDecoder,
    /// Records that are to come, by its header.
    left: u32,
}

/// What came next in the file.
enum NextBlock {
    /// A block of records, or something to skip.
    Something,
    /// The header of a session.
    Header(Record),
    /// Nothing (yet).
    End,
}

impl Blocks {
    /// The next record, headers of sessions included; `None` when there is none (yet).
    pub(crate) fn next(
        &mut self,
        stream: &mut Stream,
        range: TimeRange,
        losses: &mut Losses,
    ) -> Result<Option<Record>, ReadError> {
        loop {
            if let Some(record) = self.next_of_present(losses) {
                return Ok(Some(record));
            }
            match self.go_on(stream, range, losses)? {
                NextBlock::Something => {}
                NextBlock::Header(header) => return Ok(Some(header)),
                NextBlock::End => return Ok(None),
            }
        }
    }

    /// A header was read that is not that of the same session again.
    pub(crate) fn begin_session(&mut self) {
        self.numbers.begin_session();
    }

    /// Passes over these parts of the file.
    pub(crate) fn jump(&mut self, jumps: VecDeque<(u64, u64)>) {
        self.jumps = jumps;
    }

    /// Another file, which goes on where the last ended.
    pub(crate) fn go_on_in_next_file(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        *self = Self { numbers, ..Self::default() };
    }

    fn next_of_present(&mut self, losses: &mut Losses) -> Option<Record> {
        let Self { present, numbers, .. } = self;
        loop {
            let Present { decoder, left } = present.as_mut()?;
            match decoder.next() {
                Ok(Some(Item::Record(record))) => {
                    *left = left.saturating_sub(1);
                    return Some(record);
                }
                Ok(Some(Item::Unknown)) => {
                    *left = left.saturating_sub(1);
                    losses.unknown += 1;
                }
                Ok(Some(Item::Totals(totals))) => numbers.count(totals, losses),
                Ok(None) => {
                    numbers.miss((*left).into(), losses);
                    *present = None;
                }
                Err(malformed) => {
                    log::debug!("a block is damaged, though its checksum is right: {malformed}");
                    losses.damaged += 1;
                    numbers.miss((*left).into(), losses);
                    *present = None;
                }
            }
        }
    }

    fn go_on(
        &mut self,
        stream: &mut Stream,
        range: TimeRange,
        losses: &mut Losses,
    ) -> Result<NextBlock, ReadError> {
        self.pass_over(stream)?;
        let bytes = stream.peek(HEADER_BYTES)?;
        if bytes.starts_with(&FILE_MAGIC) {
            return self.open(stream, losses);
        }
        match BlockHeader::parse(bytes) {
            Some(header) => self.take(&header, stream, range, losses),
            None if bytes.len() < HEADER_BYTES => Ok(self.end(stream, losses)),
            None => self.look_for_block(stream, losses),
        }
    }

    fn pass_over(&mut self, stream: &mut Stream) -> Result<(), ReadError> {
        while let Some((begin, end)) = self.jumps.front().copied()
            && begin <= stream.offset()
        {
            self.jumps.pop_front();
            if stream.offset() < end {
                stream.seek(end)?;
                self.numbers.jump();
            }
        }
        Ok(())
    }

    /// Takes the beginning of a file, which may stand in the middle of one: files can be joined.
    fn open(&mut self, stream: &mut Stream, losses: &mut Losses) -> Result<NextBlock, ReadError> {
        match opening(stream.peek(MAX_OPENING)?) {
            Opening::Short if !begins_block(stream.here().get(1..).unwrap_or_default()) => {
                Ok(self.end(stream, losses))
            }
            Opening::Short | Opening::Other => self.look_for_block(stream, losses),
            Opening::Recording { version, writer, .. } if version > VERSION => {
                Err(ReadError::NewerFormat { path: stream.source().path().to_owned(), version, writer })
            }
            Opening::Recording { length, .. } => {
                stream.consume(length);
                self.is_lost = false;
                Ok(NextBlock::Something)
            }
        }
    }

    fn take(
        &mut self,
        header: &BlockHeader,
        stream: &mut Stream,
        range: TimeRange,
        losses: &mut Losses,
    ) -> Result<NextBlock, ReadError> {
        let length = HEADER_BYTES + header.payload_bytes();
        let bytes = stream.peek(length)?;
        let Some(payload) = bytes.get(HEADER_BYTES..length) else {
            if !begins_block(bytes.get(1..).unwrap_or_default()) {
                return Ok(self.end(stream, losses));
            }
            // It will never be whole: its writer was killed, and another went on.
            self.lose(header, losses);
            return self.look_for_block(stream, losses);
        };
        if !header.matches(payload) {
            self.lose(header, losses);
            return self.look_for_block(stream, losses);
        }
        self.is_lost = false;
        if header.is(Kind::Header) {
            let parsed = Record::from_json(payload);
            stream.consume(length);
            return match parsed {
                Ok(header @ Record::Header(_)) => Ok(NextBlock::Header(header)),
                Err(source @ ParseError::NewerSchema { .. }) => {
                    Err(ReadError::NewerSchema { path: stream.source().path().to_owned(), source })
                }
                _ => {
                    losses.damaged += 1;
                    Ok(NextBlock::Something)
                }
            };
        }
        if header.is(Kind::Records) {
            let entry = header.entry();
            losses.goes_on = false;
            self.numbers.arrive(&entry, losses);
            if range.touches(&entry) {
                stream.consume(HEADER_BYTES);
                let decoder = BlockDecoder::new(stream.take(header.payload_bytes()));
                self.present = Some(Present { decoder, left: entry.records });
                return Ok(NextBlock::Something);
            }
        } else if header.is(Kind::Index) {
            // It knows how many there were.
            self.numbers.arrive_at(header.entry().first_record, losses);
            losses.goes_on = !losses.has_ended;
        }
        stream.consume(length);
        Ok(NextBlock::Something)
    }

    /// A block is damaged, but its header tells what was in it.
    fn lose(&mut self, header: &BlockHeader, losses: &mut Losses) {
        losses.damaged += 1;
        self.is_lost = true;
        if header.is(Kind::Records) {
            let entry = header.entry();
            self.numbers.arrive(&entry, losses);
            self.numbers.miss(entry.records.into(), losses);
        }
    }

    /// Passes over bytes that belong to no block, up to where one may begin.
    fn look_for_block(&mut self, stream: &mut Stream, losses: &mut Losses) -> Result<NextBlock, ReadError> {
        losses.damaged += u64::from(!self.is_lost);
        self.is_lost = true;
        loop {
            let rest = stream.here().get(1..).unwrap_or_default();
            if let Some(at) = rest.windows(MARK.len()).position(|bytes| bytes == MARK) {
                stream.consume(1 + at);
                return Ok(NextBlock::Something);
            }
            // It may begin with the last bytes that are here.
            stream.consume(stream.here().len().saturating_sub(MARK.len()));
            if !stream.more()? {
                return Ok(self.end(stream, losses));
            }
        }
    }

    /// There is no more (yet), unless what comes does not follow on what is here.
    fn end(&mut self, stream: &mut Stream, losses: &mut Losses) -> NextBlock {
        if stream.take_break() {
            losses.damaged += u64::from(!self.is_lost);
            self.is_lost = true;
            return NextBlock::Something;
        }
        NextBlock::End
    }
}

/// Whether a block or a file begins somewhere in these bytes.
pub(crate) fn begins_block(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.windows(MARK.len()).position(|bytes| bytes == MARK) {
        rest = rest.get(at..).unwrap_or_default();
        if BlockHeader::parse(rest).is_some() || matches!(opening(rest), Opening::Recording { .. }) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}
