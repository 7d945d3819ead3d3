//! An output that the session's own thread writes: for sessions that go on only with what is written, and for those
//! that say little. Nothing is dropped; an error ends the session.

use std::io;

use super::{
    error::{WriteError, in_words},
    target::Target,
};
use crate::{forms::encoder::Chunk, model::units::plural};

/// An output without a thread.
pub(crate) struct Synchronous {
    target: Target,
    /// Records in the output.
    records: u64,
}

impl Synchronous {
    /// Writes what each file begins with.
    pub(crate) fn start(mut target: Target, preamble: Vec<u8>) -> Result<Self, WriteError> {
        let begun = target.begin(preamble);
        let synchronous = Self { target, records: 0 };
        begun.map_err(|error| synchronous.failed(&error))?;
        Ok(synchronous)
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        self.target.name()
    }

    /// Writes a chunk.
    pub(crate) fn write(&mut self, chunk: &Chunk) -> Result<(), WriteError> {
        let written = self.target.write(chunk);
        written.map_err(|error| self.failed(&error))?;
        self.records += chunk.records;
        Ok(())
    }

    /// Begins a new file if the present one was moved away.
    pub(crate) fn reopen(&mut self) -> Result<(), WriteError> {
        let reopened = self.target.reopen();
        reopened.map_err(|error| self.failed(&error))
    }

    /// Completes the file.
    pub(crate) fn finish(mut self) -> Result<(), WriteError> {
        let finished = self.target.finish();
        finished.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> WriteError {
        if self.target.is_stdout() && error.kind() == io::ErrorKind::BrokenPipe {
            return WriteError::ReaderGone;
        }
        let reason = format!("{}; it has {}", in_words(error), plural(self.records, "record"));
        WriteError::Failed { name: self.target.name().to_owned(), reason }
    }
}
