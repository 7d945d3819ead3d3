//! Reads sessions that were kept: `.tct` and JSON Lines, plain or compressed (zstd), told apart by their
//! content. Bounded memory; never writes.

use std::path::Path;

use jiff::Timestamp;

use super::{
    blocks::{Blocks, begins_block},
    error::ReadError,
    inflate::FRAME_MAGIC,
    jsonl::LineReader,
    jumps,
    losses::Losses,
    range::TimeRange,
    source::{Source, SourceChange},
    stream::Stream,
};
use crate::{
    forms::tct::preamble::FILE_MAGIC,
    model::record::{Header, Record},
};

/// A recording, read from its beginning to its end.
pub struct Reader {
    stream: Stream,
    /// `None` until enough bytes are here to tell.
    decoder: Option<Decoder>,
    range: TimeRange,
    losses: Losses,
    /// The header of the session that is being read.
    header: Option<Box<Header>>,
    /// The first record, which was read to see whether this is a recording.
    first: Option<Record>,
    has_records: bool,
    /// There were no more bytes, last time.
    is_at_end: bool,
    /// A file ended in the middle of something, and another was begun.
    was_cut: bool,
}

/// Reads a form.
enum Decoder {
    Blocks(Box<Blocks>),
    Lines(LineReader),
}

impl Reader {
    /// Opens a recording; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be opened, is no recording, or one of a version that this program does not know.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let mut reader = Self {
            stream: Stream::new(Source::open(path)?),
            decoder: None,
            range: TimeRange::default(),
            losses: Losses::default(),
            header: None,
            first: None,
            has_records: false,
            is_at_end: false,
            was_cut: false,
        };
        reader.first = reader.next()?;
        Ok(reader)
    }

    /// Leaves out what happened before `from` or after `to`: whole blocks where the file allows it. Headers
    /// and summaries are given all the same. To be called before the first record is taken.
    pub fn only(&mut self, from: Option<Timestamp>, to: Option<Timestamp>) {
        self.range = TimeRange::new(from, to);
        if let (Some(Decoder::Blocks(blocks)), Some(source)) = (&mut self.decoder, self.stream.plain()) {
            blocks.jump(jumps::jumps(source, self.range));
        }
    }

    /// The next record; `None` when there is none (yet). After a `None` it may be asked again: what was
    /// appended since is given then, and what was written to a file that took the place of this one. What
    /// cannot be read is skipped and counted in [`Reader::losses`].
    ///
    /// # Errors
    /// When the file cannot be read any further.
    #[expect(clippy::should_implement_trait, reason = "an iterator that ended is not asked again")]
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        if let Some(first) = self.first.take().filter(|first| self.range.admits(first)) {
            return Ok(Some(first));
        }
        let was_at_end = std::mem::take(&mut self.is_at_end);
        let mut change = None;
        loop {
            match self.next_here()? {
                Some(record) if self.range.admits(&record) => return Ok(Some(record)),
                Some(_) => continue,
                None => {}
            }
            if let Some(change) = change.take() {
                if self.begin_other_file(change) {
                    continue;
                }
            } else if was_at_end {
                change = self.stream.change();
                if change.is_some() {
                    // Until then it may have grown: once more.
                    continue;
                }
            }
            self.is_at_end = true;
            self.losses.is_cut = self.was_cut || self.stream.is_pending();
            return self.has_anything().map(|()| None);
        }
    }

    /// What is missing in what was read so far, and why.
    #[must_use]
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The next record of this file.
    fn next_here(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            if self.decoder.is_none() {
                self.decoder = decoder(&mut self.stream, &mut self.losses)?;
            }
            let record = match &mut self.decoder {
                None => None,
                Some(Decoder::Blocks(blocks)) => {
                    blocks.next(&mut self.stream, self.range, &mut self.losses)?
                }
                Some(Decoder::Lines(lines)) => lines.next(&mut self.stream, &mut self.losses)?,
            };
            match &record {
                // What was rotated begins with the header of its session again.
                Some(Record::Header(header)) if self.header.as_ref() == Some(header) => continue,
                Some(Record::Header(header)) => {
                    self.header = Some(header.clone());
                    self.losses.has_ended = false;
                    if let Some(Decoder::Blocks(blocks)) = &mut self.decoder {
                        blocks.begin_session();
                    }
                }
                Some(Record::Summary(summary)) => {
                    self.losses.has_ended = true;
                    self.losses.totals = summary.totals;
                    if let Some(Decoder::Lines(_)) = self.decoder {
                        let dropped = &mut self.losses.dropped;
                        *dropped = dropped.saturating_add(summary.totals.dropped);
                    }
                }
                Some(other) if other.is_summary() => self.losses.has_ended = true,
                _ => {}
            }
            self.has_records |= record.is_some();
            return Ok(record);
        }
    }

    /// Begins anew after the file was replaced or became shorter; false when there is none at the moment.
    fn begin_other_file(&mut self, change: SourceChange) -> bool {
        let is_pending = self.stream.is_pending();
        if self.stream.reopen().is_err() {
            return false;
        }
        self.was_cut |= is_pending;
        self.decoder = match (self.decoder.take(), change) {
            (Some(Decoder::Blocks(mut blocks)), SourceChange::Replaced) => {
                blocks.go_on_in_next_file();
                Some(Decoder::Blocks(blocks))
            }
            _ => None,
        };
        match change {
            SourceChange::Replaced => self.losses.replaced += 1,
            SourceChange::Truncated => self.losses.truncated += 1,
        }
        true
    }

    /// Many files have a line that begins as JSON does: not one with a record in it is no recording.
    fn has_anything(&self) -> Result<(), ReadError> {
        if !self.has_records && self.losses.damaged > 0 && matches!(self.decoder, Some(Decoder::Lines(_))) {
            return Err(ReadError::NoRecording { path: self.stream.source().path().to_owned() });
        }
        Ok(())
    }
}

/// What reads these bytes; `None` when there are too few to tell.
fn decoder(stream: &mut Stream, losses: &mut Losses) -> Result<Option<Decoder>, ReadError> {
    /// Where the first block begins at the latest, if the beginning of the file is damaged.
    const FIRST_BLOCK: usize = 64 * 1024;
    loop {
        let begun = stream.peek(FILE_MAGIC.len())?;
        if begun.starts_with(&FILE_MAGIC) {
            return Ok(Some(Decoder::Blocks(Box::default())));
        }
        if begun.trim_ascii_start().starts_with(b"{") {
            return Ok(Some(Decoder::Lines(LineReader::default())));
        }
        let is_short = begun.len() < FILE_MAGIC.len();
        let may_come = [&FILE_MAGIC[..], &FRAME_MAGIC].iter().any(|magic| magic.starts_with(begun));
        if is_short && stream.take_break() {
            losses.damaged += 1;
        } else if is_short && may_come {
            return Ok(None);
        } else if begins_block(stream.peek(FIRST_BLOCK)?) {
            return Ok(Some(Decoder::Blocks(Box::default())));
        } else {
            return Err(ReadError::NoRecording { path: stream.source().path().to_owned() });
        }
    }
}
