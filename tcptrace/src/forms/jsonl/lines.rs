//! Writes records as JSON Lines. The fields and their names are in `model::record`.

use super::{escaped, transition};
use crate::{forms::time_text::TimeText, model::record::Record};

/// Writes lines into memory.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    times: TimeText,
}

impl Lines {
    /// Adds a record.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, record: &Record) {
        match record {
            Record::Transition(transition) => transition::write(out, &mut self.times, transition),
            _ => escaped::serialize(out, record),
        }
        out.push(b'\n');
    }
}
