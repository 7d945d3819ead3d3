//! The row of files of which the last is open.

use std::{path::PathBuf, time::Instant};

use super::{file::DirectoryEntry, options::FileOptions, rotation};

/// How further files are opened, and what is known of those that were moved away.
pub(crate) struct Files {
    pub path: PathBuf,
    pub options: FileOptions,
    /// Bytes in files that were moved away.
    pub moved_bytes: u64,
    pub no_rotation_before: Option<Instant>,
    pub has_warned: bool,
}

impl Files {
    /// Whether the present one may be moved away.
    pub(crate) fn may_rotate(&self) -> bool {
        self.options.rotation.is_wanted()
            && self.no_rotation_before.is_none_or(|before| Instant::now() >= before)
    }

    /// Whether all files are larger together than they may be when the present one has this length, in bytes.
    pub(crate) fn is_over_total(&self, length: u64) -> bool {
        self.options.rotation.max_total.is_some_and(|most| self.moved_bytes + length > most)
    }

    /// Keeps the limits on files that were moved away, with `reserve` bytes to spare.
    pub(crate) fn prune(&mut self, entry: Option<&DirectoryEntry>, reserve: u64) {
        let rotation = &self.options.rotation;
        let is_limited = rotation.keep.is_some() || rotation.max_total.is_some();
        let Some(entry) = entry.filter(|_| is_limited) else { return };
        match rotation::prune(&entry.directory, &entry.name, rotation, reserve) {
            Ok(left) => self.moved_bytes = left,
            Err(error) if !std::mem::replace(&mut self.has_warned, true) => {
                log::warn!("cannot remove old files of {}: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }
}
