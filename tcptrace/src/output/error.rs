//! What goes wrong with an output. Decides nothing.

use std::{fmt, io, path::PathBuf};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use thiserror::Error;

use crate::model::units::plural;

/// The output file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// The system refused.
    #[error("cannot open the output file {path}: {source}{remedy}", path = path.display())]
    System {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What can be done about it; empty when nothing is known.
        remedy: &'static str,
    },
    /// It is there, and writing to it would not be safe, or not what is wanted.
    #[error("will not write to {path}: {reason}", path = path.display())]
    Refused {
        path: PathBuf,
        /// What is wrong with it, and what can be done.
        reason: String,
    },
}

/// A record could not be written.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    /// Whoever read standard output has stopped, and there is no other output: nothing is wrong, and nothing is left to
    /// do.
    #[error("the reader of standard output has gone")]
    ReaderGone,
    /// An output that has to be written before the session goes on could not be.
    #[error("cannot write to {name}: {reason}")]
    Failed {
        /// The output.
        name: String,
        /// What went wrong, and how far it came.
        reason: String,
    },
    /// Records are missing.
    #[error("the output is incomplete: {}", Shortfalls(.0))]
    Incomplete(Vec<Shortfall>),
}

/// The outputs could not be started.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// There can be no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The header could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Whether a file cannot become larger, whatever the disk has.
pub(crate) fn is_limit_of_file(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::FBIG.raw_os_error())
}

/// What the system said, with the limit that was met where it is one of this process.
pub(crate) fn in_words(error: &io::Error) -> String {
    match getrlimit(Resource::Fsize).current.filter(|_| is_limit_of_file(error)) {
        Some(limit) => format!("{error}: this process may write {limit} bytes to a file (`ulimit -f`)"),
        None => error.to_string(),
    }
}

/// What is missing in an output.
#[derive(Debug)]
pub(crate) struct Shortfall {
    /// The output.
    pub name: String,
    /// Records that are missing.
    pub records: u64,
    pub reason: String,
}

struct Shortfalls<'a>(&'a [Shortfall]);

impl fmt::Display for Shortfalls<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Shortfall { name, records, reason }) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "; " };
            write!(formatter, "{gap}{} missing in {name} ({reason})", plural(*records, "record"))?;
        }
        Ok(())
    }
}
