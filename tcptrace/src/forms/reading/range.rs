//! The range of time to read from a recording.

use jiff::Timestamp;

use crate::{forms::tct::block::IndexEntry, model::record::Record};

/// From a moment to another, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeRange {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl TimeRange {
    pub(crate) fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        Self { from, to }
    }

    pub(crate) fn is_everything(self) -> bool {
        self == Self::default()
    }

    /// Whether a record is wanted: one of this time, or one that is about the whole session.
    pub(crate) fn admits(self, record: &Record) -> bool {
        if self.is_everything() || matches!(record, Record::Header(_)) || record.is_summary() {
            return true;
        }
        let time = record.time();
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time <= to)
    }

    /// Whether a block may hold a record that is wanted.
    pub(crate) fn touches(self, entry: &IndexEntry) -> bool {
        self.is_everything()
            || entry.has_summary
            || (self.from.is_none_or(|from| nanoseconds(from) <= entry.latest_ns)
                && self.to.is_none_or(|to| entry.earliest_ns <= nanoseconds(to)))
    }
}

/// Since 1970, as the index has it: times that it cannot tell are as far away as it can.
fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}
