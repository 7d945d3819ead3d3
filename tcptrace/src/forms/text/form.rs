//! Text as a form. Words nothing itself: [`record`] and [`view`] do.

use std::time::Instant;

use super::{
    crowd::Crowd,
    fold::folded,
    parts::Detail,
    record::{self, BEGINNING, preamble},
    said::Said,
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
    encoder: |EncoderSettings { palette, room }| {
        Box::new(Text { palette, buffer: Buffer::new(room), terminal: None })
    },
    trailer: None,
};

/// No limits.
const NO_TERMINAL: Extent = Extent { rows: usize::MAX, width: None, height: None };

struct Text {
    palette: Palette,
    buffer: Buffer,
    /// `None` where no terminal shows it.
    terminal: Option<Terminal>,
}

/// What a terminal shows is broken at its width, and no more than can be read.
struct Terminal {
    extent: Extent,
    crowd: Crowd,
    said: Said,
}

impl Text {
    /// Adds what `write` writes, as wide as the terminal.
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>, &Palette) -> std::io::Result<()>) {
        let width = self.terminal.as_ref().and_then(|terminal| terminal.extent.width);
        // Writing into memory does not fail.
        let Some(width) = width else { return drop(write(self.buffer.out(), &self.palette)) };
        let mut text = Vec::new();
        drop(write(&mut text, &self.palette));
        self.buffer.out().extend(folded(&String::from_utf8_lossy(&text), width).bytes());
    }
}

impl Form for Text {
    fn preamble(&mut self, header: &Header) -> Vec<u8> {
        preamble(header).into_bytes()
    }

    fn push(&mut self, record: &Record, _totals: &Totals) -> bool {
        let (mut extent, mut detail) = (NO_TERMINAL, Detail::Full);
        if let Some(terminal) = &mut self.terminal {
            if !terminal.crowd.admits(record) {
                return false;
            }
            extent = terminal.extent;
            if let Record::Leak(leak) = record {
                detail = terminal.said.detail(leak);
            }
        }
        self.add(|out, palette| record::write(out, record, detail, extent, palette));
        true
    }

    fn show(&mut self, view: &View, extent: Extent) -> bool {
        let width = extent.width;
        if let (Some(width), None) = (width, extent.height.filter(|_| view.is_page())) {
            let mut text = Vec::new();
            // Writing into memory does not fail.
            drop(view::write(&mut text, view, extent, &self.palette));
            self.buffer.out().extend(folded(&String::from_utf8_lossy(&text), width).bytes());
        } else {
            drop(view::write(self.buffer.out(), view, extent, &self.palette));
        }
        true
    }

    fn refresh(&mut self, extent: Extent, now: Option<Instant>) -> u64 {
        let terminal = self.terminal.get_or_insert_with(|| Terminal {
            extent,
            crowd: Crowd::default(),
            said: Said::default(),
        });
        terminal.extent = extent;
        if !terminal.crowd.is_due(now) {
            return 0;
        }
        let mut crowd = std::mem::take(&mut terminal.crowd);
        let mut records = 0;
        self.add(|out, palette| crowd.write(out, palette).map(|count| records = count));
        records
    }

    fn len(&self) -> usize {
        self.buffer.len()
    }

    fn take(&mut self, _totals: &Totals) -> Vec<u8> {
        self.buffer.take()
    }
}
