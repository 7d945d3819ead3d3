//! Reads sessions that were kept: `.tct` and JSON Lines, plain or compressed (zstd), told apart by their
//! content. Bounded memory; never writes.

mod error;
mod losses;

use std::path::Path;

use jiff::Timestamp;

pub use self::{error::ReadError, losses::Losses};
use crate::record::Record;

/// A recording, read from its beginning to its end.
pub struct Reader {
    losses: Losses,
}

impl Reader {
    /// Opens a recording; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be opened, is no recording, or one of a version that this program does not know.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let _ = path;
        Ok(Self { losses: Losses::default() })
    }

    /// Leaves out what happened before `from` or after `to`: whole blocks where the file allows it. The header and the
    /// summary are given all the same. To be called before the first record is taken.
    pub fn only(&mut self, from: Option<Timestamp>, to: Option<Timestamp>) {
        let _ = (from, to);
    }

    /// The next record; `None` when there is none (yet). After a `None` it may be asked again: what was appended since is
    /// given then. What cannot be read is passed over and counted in [`Reader::losses`].
    ///
    /// # Errors
    /// When the file cannot be read any further.
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        Ok(None)
    }

    /// What is missing in what was read so far, and why.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
