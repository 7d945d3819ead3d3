//! The records as JSON Lines. What a record says, and by which names, is in `model::record`; here is only how
//! it becomes bytes, and how it is read back.

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
