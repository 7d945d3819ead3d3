//! JSON Lines as a form. [`Lines`] makes the lines.

use super::lines::Lines;
use crate::{
    forms::form::{Ability, Buffer, EncoderSettings, Form, Format},
    model::record::{Header, Record, Totals},
};

/// The description of the form.
pub(crate) static FORMAT: Format = Format {
    name: "jsonl",
    help: "One JSON object a line",
    endings: &["jsonl", "ndjson", "json"],
    beginning: br#"{"type":"header","schema":"#,
    abilities: &[
        Ability::Lines,
        Ability::Append,
        Ability::PreambleOnAppend,
        Ability::EveryCommand,
        Ability::Summary,
    ],
    encoder: |EncoderSettings { room, palette: _ }| {
        Box::new(JsonLines { lines: Lines::default(), buffer: Buffer::new(room) })
    },
    trailer: None,
};

struct JsonLines {
    lines: Lines,
    buffer: Buffer,
}

impl Form for JsonLines {
    fn preamble(&mut self, header: &Header) -> Vec<u8> {
        let mut line = Vec::new();
        self.lines.push(&mut line, &Record::Header(Box::new(header.clone())));
        line
    }

    fn push(&mut self, record: &Record, _totals: &Totals) -> bool {
        self.lines.push(self.buffer.out(), record);
        true
    }

    fn len(&self) -> usize {
        self.buffer.len()
    }

    fn take(&mut self, _totals: &Totals) -> Vec<u8> {
        self.buffer.take()
    }
}
