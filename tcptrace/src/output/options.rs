//! What is asked of the outputs of a session. Values only.

use std::{path::PathBuf, time::Duration};

use rustix::fs::FileType;

use super::{file::IfExists, rotation::Rotation};
use crate::{
    forms::form::{Ability, Format},
    host::file_access::FileAccess,
};

/// What happens while an output is slower than its records come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// They come when they come: what finds a full queue is dropped and counted.
    Drop,
    /// They wait until the queue has room.
    Wait,
    /// The session's own thread writes each flush, and goes on only with what is written.
    Sync,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Standard output.
    Stdout,
    File(PathBuf),
}

/// One output: where records go, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where the records go.
    pub sink: Sink,
    /// Their form.
    pub format: &'static Format,
    /// Whether they are compressed (zstd).
    pub is_compressed: bool,
}

/// How files are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileOptions {
    /// What is to become of one that is already there.
    pub if_exists: IfExists,
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
            if_exists: IfExists::default(),
            mode: None,
            flush: Duration::from_secs(1),
            fsync: false,
            rotation: Rotation::default(),
        }
    }
}

impl FileOptions {
    /// How long after it was written a record has to be on the disk, if it has to.
    pub(crate) fn sync_after(&self) -> Option<Duration> {
        self.fsync.then_some(self.flush)
    }
}

/// All outputs of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputOptions {
    /// The outputs; at least one.
    pub routes: Vec<Route>,
    /// How those that are files are treated.
    pub files: FileOptions,
}

impl OutputOptions {
    /// The files that are opened.
    pub(crate) fn file_access(&self) -> FileAccess {
        let mut access = FileAccess::default();
        for route in &self.routes {
            if let Sink::File(path) = &route.sink {
                access.write_beside(path);
            }
        }
        access
    }

    /// Whether somebody may be looking at the records as they come.
    pub(crate) fn are_watched(&self) -> bool {
        self.routes.iter().any(|route| route.sink == Sink::Stdout)
    }

    /// Whether records go into a pipe, whose reader may write to the same terminal as this process.
    pub(crate) fn are_piped(&self) -> bool {
        let is_pipe = || {
            rustix::fs::fstat(rustix::stdio::stdout())
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
        };
        self.are_watched() && is_pipe()
    }

    /// Whether one of them is meant for a report.
    pub(crate) fn have_recording(&self) -> bool {
        self.routes.iter().any(|route| route.format.can(Ability::ForReport))
    }
}
