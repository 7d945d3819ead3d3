//! What is missing in a recording, and why.

use crate::record::Totals;

/// What is missing in what was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The session's own counters, as last written: what was lost before it came to be recorded.
    pub totals: Totals,
    /// Records that the writer had to drop, because its output was too slow.
    pub dropped: u64,
    /// Further records of the session that are not in the file, or cannot be read, as far as their numbers tell.
    pub missing: u64,
    /// Blocks or lines that are damaged.
    pub damaged: u64,
    /// The file ends in the middle of a block, a line or a compressed frame.
    pub is_cut: bool,
    /// Records of types that this version does not know.
    pub unknown: u64,
    /// Records of the session before this file: it was rotated.
    pub before: u64,
    /// The session's summary was read: it ended as it should.
    pub has_ended: bool,
}
