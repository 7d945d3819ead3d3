//! Turns records into chunks of whole records, in one form. Does no I/O, and decides nothing about when a chunk is
//! written.

use std::{fmt, time::Instant};

use super::{
    form::{EncoderSettings, Form, Format},
    view::{Extent, View},
};
use crate::model::record::{Header, Record, Totals};

/// Records in the form of a file, to be written in one piece.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// What goes into the file.
    pub bytes: Vec<u8>,
    /// How many records that is.
    pub records: u64,
}

/// Encodes records in one form.
pub(crate) struct Encoder {
    form: Box<dyn Form>,
    /// Records that wait.
    records: u64,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an encoder with {} records", self.records)
    }
}

impl Encoder {
    /// An encoder for this form.
    pub(crate) fn new(format: &Format, setting: EncoderSettings) -> Self {
        Self { form: (format.encoder)(setting), records: 0 }
    }

    /// What every file of the session begins with.
    pub(crate) fn preamble(&mut self, header: &Header) -> Vec<u8> {
        self.form.preamble(header)
    }

    /// Adds a record; the counters are those of the session so far.
    #[inline]
    pub(crate) fn push(&mut self, record: &Record, totals: &Totals) {
        self.records += u64::from(self.form.push(record, totals));
    }

    /// Adds a view as a whole; returns false when the form wants its records instead.
    pub(crate) fn show(&mut self, view: &View, extent: Extent) -> bool {
        let is_shown = self.form.show(view, extent);
        self.records += u64::from(is_shown);
        is_shown
    }

    /// Tells the form what the terminal is like that shows it; `now` is `None` at the end.
    pub(crate) fn refresh(&mut self, extent: Extent, now: Option<Instant>) {
        self.records += self.form.refresh(extent, now);
    }

    /// Bytes that wait, or about so many.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.form.len()
    }

    /// Whether no record waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Takes out what waits.
    pub(crate) fn take(&mut self, totals: &Totals) -> Chunk {
        Chunk { bytes: self.form.take(totals), records: std::mem::take(&mut self.records) }
    }
}
