//! What is missing in a recording, and why.

use crate::record::Totals;

/// What is missing in what was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The session's own counters as last written: what was lost before it came to be recorded.
    pub totals: Totals,
    /// Records that the writer dropped, because its output was too slow.
    pub dropped: u64,
    /// Further records of the session that are not in the file, or cannot be read, as far as their numbers tell.
    /// JSON Lines have no numbers.
    pub missing: u64,
    /// Places where the file is damaged: blocks, lines, compressed frames.
    pub damaged: u64,
    /// The file ends in the middle of a block, a line or a compressed frame: it is still being written, or its writer was
    /// killed.
    pub is_cut: bool,
    /// Records of types that this version does not know.
    pub unknown: u64,
    /// Records of the session before the first that was read: they are in an earlier file, because it was rotated, or in
    /// blocks at the beginning that are damaged.
    pub before: u64,
    /// Times that the file was replaced by another while it was read: it was rotated.
    pub replaced: u64,
    /// Times that the file became shorter while it was read, and was read from its beginning again.
    pub truncated: u64,
    /// The session's summary was read: it ended as it should.
    pub has_ended: bool,
}
