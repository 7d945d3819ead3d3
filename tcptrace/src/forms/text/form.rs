//! Text as a form. Words nothing itself: [`record`] and [`view`] do.

use super::{
    record::{self, BEGINNING, preamble},
    view,
};
use crate::{
    forms::{
        form::{Ability, Buffer, EncoderSettings, Form, Format},
        palette::Palette,
        view::{Extent, View},
    },
    model::record::{Header, Record, Totals},
};

/// The description of the form.
pub(crate) static FORMAT: Format = Format {
    name: "text",
    help: "Lines for people",
    endings: &["txt", "text", "log"],
    beginning: BEGINNING.as_bytes(),
    abilities: &[
        Ability::ForPeople,
        Ability::Lines,
        Ability::Append,
        Ability::PreambleOnAppend,
        Ability::EveryCommand,
        Ability::Summary,
    ],
    encoder: |EncoderSettings { palette, room }| Box::new(Text { palette, buffer: Buffer::new(room) }),
    trailer: None,
};

struct Text {
    palette: Palette,
    buffer: Buffer,
}

impl Form for Text {
    fn preamble(&mut self, header: &Header) -> Vec<u8> {
        preamble(header).into_bytes()
    }

    fn push(&mut self, record: &Record, _totals: &Totals) -> bool {
        // Writing into memory does not fail.
        drop(record::write(self.buffer.out(), record, &self.palette));
        true
    }

    fn show(&mut self, view: &View, extent: Extent) -> bool {
        // Writing into memory does not fail.
        drop(view::write(self.buffer.out(), view, extent, &self.palette));
        true
    }

    fn len(&self) -> usize {
        self.buffer.len()
    }

    fn take(&mut self, _totals: &Totals) -> Vec<u8> {
        self.buffer.take()
    }
}
