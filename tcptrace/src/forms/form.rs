//! What a form of the records is: a description, an encoder, and for some forms a trailer. Names no form, does no
//! I/O, and decides nothing about when something is written.

use std::{fmt, time::Instant};

use super::{
    palette::Palette,
    view::{Extent, View},
};
use crate::model::record::{Header, Record, Totals};

/// A form, as options and files know it. Its name identifies it.
pub(crate) struct Format {
    /// What `--format` calls it.
    pub name: &'static str,
    /// What it is, for `--help`.
    pub help: &'static str,
    /// Endings of file names that stand for it, without their dots.
    pub endings: &'static [&'static str],
    /// What every file in this form begins with, and none in another form.
    pub beginning: &'static [u8],
    /// What outputs may do with it.
    pub abilities: &'static [Ability],
    /// Makes an encoder.
    pub encoder: fn(EncoderSettings) -> Box<dyn Form>,
    /// Makes the trailer of a file; `None` where files just end.
    pub trailer: Option<fn() -> Box<dyn Trailer>>,
}

/// What a form is able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ability {
    /// People read it as it comes: it shows views, and on standard output it has no preamble.
    ForPeople,
    /// It consists of lines: a terminal may show it, and nobody who watches waits for more than a record.
    Lines,
    /// Records may be added to a file of an earlier session.
    Append,
    /// A session that adds to a file writes its preamble there too.
    PreambleOnAppend,
    /// It has a place for the records of every command.
    EveryCommand,
    /// It has a place for the summary of a session.
    Summary,
    /// It is meant for `report`.
    ForReport,
}

impl Format {
    /// Whether the form is able to do this.
    pub(crate) fn can(&self, ability: Ability) -> bool {
        self.abilities.contains(&ability)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// What an encoder is made with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EncoderSettings {
    /// Colours, for the forms that have some.
    pub palette: Palette,
    /// Bytes of a chunk, about.
    pub room: usize,
}

/// Encodes the records of one output, and keeps the bytes until they are taken.
pub(crate) trait Form: Send {
    /// What every file of the session begins with.
    fn preamble(&mut self, header: &Header) -> Vec<u8>;

    /// Adds a record; returns whether the form has a place for it. The counters are those of the session so far.
    fn push(&mut self, record: &Record, totals: &Totals) -> bool;

    /// Adds a view; returns false when the form has its records instead.
    fn show(&mut self, _view: &View, _extent: Extent) -> bool {
        false
    }

    /// Tells a form for people how large the terminal is that shows it, and the time: `None` at the end, when what it held
    /// back is to come. Returns how many records that is.
    fn refresh(&mut self, _extent: Extent, _now: Option<Instant>) -> u64 {
        0
    }

    /// Bytes that are kept, or about so many.
    fn len(&self) -> usize;

    /// Takes out what is kept: whole records.
    fn take(&mut self, totals: &Totals) -> Vec<u8>;
}

/// Follows what is written to one file, to know what the file has to end with.
pub(crate) trait Trailer: Send {
    /// Takes note of a chunk that was written at this offset of the uncompressed file.
    fn follow(&mut self, offset: u64, chunk: &[u8]);

    /// Bytes of the trailer after one more chunk, at most.
    fn length_after(&self, chunk: &[u8]) -> usize;

    /// What the file ends with.
    fn bytes(&self) -> Vec<u8>;
}

/// Bytes on their way into a chunk: room for a whole one is made when its first record comes.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    room: usize,
}

impl Buffer {
    pub(crate) fn new(room: usize) -> Self {
        Self { bytes: Vec::new(), room }
    }

    /// To write to.
    #[inline]
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.room);
        }
        &mut self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}
