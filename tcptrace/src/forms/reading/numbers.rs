//! Follows the numbers of a session's records, and counts the missing ones.

use super::losses::Losses;
use crate::{forms::tct::block::IndexEntry, model::record::Totals};

/// The numbers so far.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    expected: Expected,
    /// Records that are not there, those that were dropped too.
    absent: u64,
    /// The writer's own count of those it dropped, at the last block; `None` when there was none.
    dropped: Option<u64>,
}

/// The number that the next record should have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    /// The first of a session, or of a file that is not its first.
    #[default]
    First,
    /// Any number: a part was skipped on purpose.
    Any,
    Number(u64),
}

impl Numbers {
    /// Another session begins, whose records are numbered from 0.
    pub(crate) fn begin_session(&mut self) {
        (self.expected, self.dropped) = (Expected::First, None);
    }

    /// The reader skips a part of the file on purpose.
    pub(crate) fn jump(&mut self) {
        self.expected = Expected::Any;
    }

    /// A block of records comes: those between the last and this are missing.
    pub(crate) fn arrive(&mut self, entry: &IndexEntry, losses: &mut Losses) {
        self.arrive_at(entry.first_record, losses);
        self.expected = Expected::Number(entry.next_record());
    }

    /// The end of a file, or the next block, is at this number.
    pub(crate) fn arrive_at(&mut self, number: u64, losses: &mut Losses) {
        match self.expected {
            Expected::First => {
                losses.before = losses.before.saturating_add(number);
                // What was dropped before is none of this file's.
                self.dropped = (number == 0).then_some(0);
            }
            Expected::Any => {}
            Expected::Number(expected) => self.miss(number.saturating_sub(expected), losses),
        }
    }

    /// So many records are not there.
    pub(crate) fn miss(&mut self, records: u64, losses: &mut Losses) {
        self.absent = self.absent.saturating_add(records);
        losses.missing = self.absent.saturating_sub(losses.dropped);
    }

    /// A block tells the session's counters. Those that the writer dropped are among those that are missing.
    pub(crate) fn count(&mut self, totals: Totals, losses: &mut Losses) {
        let before = self.dropped.replace(totals.dropped).unwrap_or(totals.dropped);
        losses.dropped = losses.dropped.saturating_add(totals.dropped.saturating_sub(before));
        losses.missing = self.absent.saturating_sub(losses.dropped);
        losses.totals = totals;
    }
}
