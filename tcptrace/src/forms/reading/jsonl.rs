//! Reads JSON Lines, one record a line.

use std::io::BufRead as _;

use super::{error::ReadError, losses::Losses, stream::Stream};
use crate::{
    forms::{jsonl::parse::ParseError, tct::frame::MAX_PAYLOAD},
    model::record::Record,
};

/// Longest line, in bytes: as long as what a block of a recording can hold.
const MAX_LINE: usize = MAX_PAYLOAD;

/// Reads lines.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    /// Bytes of the line to come that were looked at for its end.
    looked_at: usize,
    /// What comes, up to the end of a line, is the rest of one that is too long.
    is_too_long: bool,
}

impl LineReader {
    /// The next record; `None` when there is none (yet).
    pub(crate) fn next(
        &mut self,
        stream: &mut Stream,
        losses: &mut Losses,
    ) -> Result<Option<Record>, ReadError> {
        loop {
            if let Some(length) = self.whole_line(stream) {
                let parsed = match stream.here().get(..length).map(<[u8]>::trim_ascii) {
                    Some(line) if !self.is_too_long && !line.is_empty() => Some(Record::from_json(line)),
                    _ => None,
                };
                stream.consume(length);
                *self = Self::default();
                if let Some(parsed) = parsed
                    && let Some(record) = sort_out(parsed, stream, losses)?
                {
                    return Ok(Some(record));
                }
                continue;
            }
            if self.looked_at > MAX_LINE {
                losses.damaged += u64::from(!self.is_too_long);
                self.is_too_long = true;
            }
            if self.is_too_long {
                stream.consume(self.looked_at);
                self.looked_at = 0;
            }
            if stream.more()? {
                continue;
            }
            if !stream.take_break() {
                return self.last_line(stream, losses);
            }
            losses.damaged += 1;
            *self = Self::default();
        }
    }

    /// Length of what comes up to the end of a line, if that is here.
    fn whole_line(&mut self, stream: &Stream) -> Option<usize> {
        let mut rest = stream.here().get(self.looked_at..).unwrap_or_default();
        // Reading from memory does not fail.
        self.looked_at += rest.skip_until(b'\n').unwrap_or(0);
        let last = stream.here().get(self.looked_at.checked_sub(1)?);
        (last == Some(&b'\n')).then_some(self.looked_at)
    }

    /// The last line of a file may have no end. It is whole all the same if it is an object: nothing could follow it.
    fn last_line(&mut self, stream: &mut Stream, losses: &mut Losses) -> Result<Option<Record>, ReadError> {
        let line = stream.here().trim_ascii();
        if self.is_too_long || !line.ends_with(b"}") {
            return Ok(None);
        }
        match Record::from_json(line) {
            // It ends with a brace, but that of something within it.
            Err(ParseError::Json(_)) => Ok(None),
            parsed => {
                stream.consume(stream.here().len());
                *self = Self::default();
                sort_out(parsed, stream, losses)
            }
        }
    }
}

/// Counts what is no record.
fn sort_out(
    parsed: Result<Record, ParseError>,
    stream: &Stream,
    losses: &mut Losses,
) -> Result<Option<Record>, ReadError> {
    match parsed {
        Ok(record) => return Ok(Some(record)),
        Err(source @ ParseError::NewerSchema { .. }) => {
            return Err(ReadError::NewerSchema { path: stream.source().path().to_owned(), source });
        }
        Err(ParseError::Json(_)) => losses.damaged += 1,
    }
    Ok(None)
}
