//! Where records go, and in which form. Sinks decide nothing: what they are given, they write.
//!
//! A session encodes each record for every output; a thread an output does the writing, behind a bounded
//! queue, so that nothing that is slow ever holds up a session. What finds its queue full is dropped and
//! counted.

mod csv;
mod directory;
mod encoder;
mod escape;
mod file;
mod format;
mod jsonl;
mod options;
mod output;
mod palette;
mod queue;
mod rotation;
mod target;
mod text;
mod time_text;
mod writer;

use std::{fmt, io, time::Instant};

use thiserror::Error;

pub(crate) use self::{
    directory::{Refusal, open_parent},
    text::columns,
};
pub use self::{
    escape::Harmless,
    file::{Existing, OpenError},
    format::{Format, NameParts},
    options::{Destination, FileOptions, Output, OutputOptions},
    output::Pace,
    palette::Palette,
    rotation::Rotation,
};
use self::{output::Running, target::Target};
use crate::record::{Header, Record, Snapshot, Summary, Totals};

/// A record could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Whoever read standard output has stopped, and there is no other output: nothing is wrong, and nothing is left to
    /// do.
    #[error("the reader of standard output has gone")]
    ReaderGone,
    /// Records are missing.
    #[error("the output is incomplete: {}", Shortfalls(.0))]
    Incomplete(Vec<Shortfall>),
}

/// What is missing in an output.
#[derive(Debug)]
pub struct Shortfall {
    /// The output.
    pub name: String,
    /// Records that are missing.
    pub records: u64,
    /// Why.
    pub reason: String,
}

struct Shortfalls<'a>(&'a [Shortfall]);

impl fmt::Display for Shortfalls<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Shortfall { name, records, reason }) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "; " };
            let records = crate::units::plural(*records, "record");
            write!(formatter, "{gap}{records} missing in {name} ({reason})")?;
        }
        Ok(())
    }
}

/// Outputs that are open, and have nothing in them yet.
pub struct Outputs {
    opened: Vec<(Output, Target)>,
    files: FileOptions,
}

impl Outputs {
    /// Opens all of them. Nothing that is in a file is touched before [`Outputs::start`].
    ///
    /// # Errors
    /// When a file cannot be created, or it would not be safe to write to it as root.
    pub fn open(options: &OutputOptions) -> Result<Self, OpenError> {
        let open = |output: &Output| Ok((output.clone(), output::open(output, &options.files)?));
        let opened = options.outputs.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { opened, files: options.files.clone() })
    }

    /// Whether one of them is a file, which can be moved away.
    pub fn has_files(&self) -> bool {
        self.opened.iter().any(|(_, target)| target.is_file())
    }

    /// Begins to write: the header, to all of them.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(self, header: &Header, pace: Pace) -> io::Result<Sinks> {
        let Self { opened, files } = self;
        let running = opened
            .into_iter()
            .map(|(output, target)| Running::start(&output, target, &files, header, pace))
            .collect::<Result<_, _>>()?;
        Ok(Sinks { running, totals: Totals::default() })
    }
}

/// All outputs of a session.
pub struct Sinks {
    running: Vec<Running>,
    totals: Totals,
}

impl Sinks {
    /// Writes one record. It waits in memory until [`Sinks::flush`] finds that it has waited for long enough.
    pub fn write(&mut self, record: &Record) {
        for output in &mut self.running {
            output.write(record, &self.totals);
        }
    }

    /// Writes one look at the host; as text, about `rows` sockets and as many groups at most. Returns the sums, to end
    /// with.
    pub fn write_snapshot(&mut self, snapshot: Snapshot, rows: usize) -> Summary {
        for output in &mut self.running {
            output.write_snapshot(&snapshot, rows);
        }
        let Snapshot { groups, scope: _, summary } = snapshot;
        for leak in groups.into_iter().flat_map(|group| group.leaks) {
            self.write(&Record::Leak(Box::new(leak)));
        }
        summary
    }

    /// Passes on what has waited for long enough. To be called after each batch of records, and now and then when
    /// there are none; `totals` are the session's counters so far.
    ///
    /// # Errors
    /// When nobody is left to write to.
    pub fn flush(&mut self, totals: Totals) -> Result<(), WriteError> {
        self.totals = totals;
        let now = Instant::now();
        for output in &mut self.running {
            output.flush(now, &self.totals);
        }
        let had_some = !self.running.is_empty();
        self.running.retain(|output| !output.reader_has_gone());
        if had_some && self.running.is_empty() { Err(WriteError::ReaderGone) } else { Ok(()) }
    }

    /// Begins a new file wherever the present one was moved away.
    pub fn reopen(&mut self) {
        for output in &mut self.running {
            output.reopen(&self.totals);
        }
    }

    /// Records that are not in the output that lacks the most of them.
    pub fn dropped(&self) -> u64 {
        self.running.iter().map(Running::dropped).max().unwrap_or(0)
    }

    /// Writes the summary, if there is one to end with, and waits until everything is written: as long as it goes on, and for
    /// ten seconds in which it does not. Whoever reads standard output has all the time in the world, until `leave` returns.
    ///
    /// # Errors
    /// When an output is incomplete.
    pub async fn finish(
        mut self,
        summary: Option<&Summary>,
        leave: impl Future<Output = ()>,
    ) -> Result<(), WriteError> {
        self.totals = summary.map_or(self.totals, |summary| summary.totals);
        let mut ending: Vec<_> = std::mem::take(&mut self.running)
            .into_iter()
            .map(|output| output.end(summary, &self.totals))
            .collect();
        let mut leave = std::pin::pin!(leave);
        let (mut shortfalls, mut has_left) = (Vec::new(), false);
        for output in &mut ending {
            shortfalls.extend(output.wait(leave.as_mut(), &mut has_left).await);
        }
        if shortfalls.is_empty() { Ok(()) } else { Err(WriteError::Incomplete(shortfalls)) }
    }
}

impl Drop for Sinks {
    /// A session that fails leaves what it has.
    fn drop(&mut self) {
        for output in &mut self.running {
            output.abandon(&self.totals);
        }
    }
}
