//! What a recording lacks, and why.

use std::fmt;

use crate::model::{record::Totals, units::are};

/// What is missing in what was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The session's own counters as last written: what was lost before it came to be recorded.
    pub totals: Totals,
    /// Records that the writer dropped by its own count, because its output was too slow. Without a summary,
    /// JSON Lines do not tell.
    pub dropped: u64,
    /// Further records of the session that are not in the file, or cannot be read, as far as their numbers
    /// tell. JSON Lines have no numbers.
    pub missing: u64,
    /// Places where the file is damaged: blocks, lines, compressed frames.
    pub damaged: u64,
    /// The file ends in the middle of a block, a line or a compressed frame: it is still being written, or
    /// its writer was killed.
    pub is_cut: bool,
    /// Records in a recording that a later version wrote in a way that this one does not know.
    pub unknown: u64,
    /// Records of the session before the first that was read: they are in an earlier file, because it was
    /// rotated, or in blocks at the beginning that are damaged.
    pub before: u64,
    /// Times that the file was replaced by another while it was read: it was rotated.
    pub replaced: u64,
    /// Times that the file became shorter while it was read, and was read from its beginning again.
    pub truncated: u64,
    /// The session's summary was read: it ended as it should.
    pub has_ended: bool,
    /// The end of a file was read that goes on in another.
    pub goes_on: bool,
}

impl Losses {
    /// Whether all of the file could be read; its session may still run, or have been killed.
    #[must_use]
    pub fn is_undamaged(&self) -> bool {
        self.missing == 0 && self.damaged == 0 && !self.is_cut && self.unknown == 0 && self.truncated == 0
    }

    /// Whether all is there that the session wrote into what was read. What it lost before that (`totals`,
    /// `dropped`) and what lies in other files does not count.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_undamaged() && (self.has_ended || self.goes_on)
    }
}

impl fmt::Display for Losses {
    /// What is missing in what was read, in words; nothing when it is whole.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, damaged, is_cut, unknown, before, truncated, has_ended, goes_on, .. } = *self;
        let mut parts = Vec::new();
        if damaged > 0 {
            parts.push(format!("{} damaged", are(damaged, "place")));
        }
        if missing > 0 {
            parts.push(format!("{} missing", are(missing, "record")));
        }
        if before > 0 && damaged > 0 {
            parts.push(format!("{} missing at its beginning, or in an earlier file", are(before, "record")));
        }
        if unknown > 0 {
            let records = are(unknown, "record");
            parts.push(format!("{records} left out, of kinds that only a later tcptrace knows"));
        }
        if truncated > 0 {
            parts.push("it became shorter while it was read".to_owned());
        }
        if is_cut {
            parts.push("it ends in the middle of a record".to_owned());
        }
        if !has_ended && !goes_on {
            parts.push(
                "it has no summary: its session still runs, was killed, or goes on in another file"
                    .to_owned(),
            );
        }
        formatter.write_str(&parts.join("; "))
    }
}
