//! What is asked of the outputs of a session. Values only.

use std::{path::PathBuf, time::Duration};

use super::{file::Existing, rotation::Rotation};
use crate::forms::format::Format;

/// Where records are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where the records go.
    pub destination: Destination,
    /// Their form.
    pub format: Format,
    /// Whether they are compressed (zstd).
    pub is_compressed: bool,
}

/// How files are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// What is to become of one that is already there.
    pub existing: Existing,
    /// Permissions; 0600 for a new file and whatever an old one has, unless others are asked for.
    pub mode: Option<u32>,
    /// A record waits no longer than this before it is written.
    pub flush: Duration,
    /// What was written is on the disk after about the same time, and when the session ends.
    pub fsync: bool,
    /// When another file is begun.
    pub rotation: Rotation,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            existing: Existing::default(),
            mode: None,
            flush: Duration::from_secs(1),
            fsync: false,
            rotation: Rotation::default(),
        }
    }
}

impl FileOptions {
    /// How long after it was written a record has to be on the disk, if it has to.
    pub fn sync_after(&self) -> Option<Duration> {
        self.fsync.then_some(self.flush)
    }
}

/// All outputs of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputOptions {
    /// The outputs; at least one.
    pub outputs: Vec<Output>,
    /// How those that are files are treated.
    pub files: FileOptions,
}

impl OutputOptions {
    /// Whether somebody may be looking at the records as they come.
    pub fn are_watched(&self) -> bool {
        self.outputs.iter().any(|output| output.destination == Destination::Stdout)
    }

    /// Whether one of them is a recording, from which a report is made.
    pub fn have_recording(&self) -> bool {
        self.outputs.iter().any(|output| output.format == Format::Tct)
    }
}
