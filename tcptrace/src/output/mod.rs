//! Where records go, and in which form. Sinks decide nothing: what they are given, they write.
//!
//! A session encodes each record for every output; a thread an output does the writing, behind a bounded
//! queue, so that nothing that is slow ever holds up a session. What finds its queue full is dropped and
//! counted.

pub(crate) mod direct;
pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod options;
pub(crate) mod queue;
pub(crate) mod replace;
pub(crate) mod rotation;
pub(crate) mod running;
pub(crate) mod target;
pub(crate) mod writer;

use std::{
    fmt, io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use thiserror::Error;

pub use self::{
    direct::Direct,
    file::OpenError,
    options::{FileOptions, Output, OutputOptions},
    running::Pace,
};
use self::{running::Running, target::Target};
use crate::forms::palette::Palette;
use crate::forms::text::snapshot::Extent;
use crate::model::record::{Header, Record, Snapshot, Summary, Totals, cleared::ClearPlan};

/// A record could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
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
            let records = crate::model::units::plural(*records, "record");
            write!(formatter, "{gap}{records} missing in {name} ({reason})")?;
        }
        Ok(())
    }
}

/// What is to be ended, for whoever is asked on the terminal behind standard error.
pub fn plan_for_terminal(plan: &ClearPlan, rows: usize) -> String {
    let extent = Extent { rows, width: terminal_size(io::stderr()).map(|(width, _)| width) };
    let mut text = Vec::new();
    // Memory takes everything.
    let _ = crate::forms::text::cleared::write_plan(&mut text, plan, extent, &Palette::default());
    String::from_utf8_lossy(&text).into_owned()
}

/// Width and height of a terminal, in characters; `None` when it is none.
fn terminal_size(terminal: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
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
        let open = |output: &Output| Ok((output.clone(), running::open(output, &options.files)?));
        let opened = options.outputs.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { opened, files: options.files.clone() })
    }

    /// Whether one of them is a file, which can be moved away.
    pub fn has_files(&self) -> bool {
        self.opened.iter().any(|(_, target)| target.is_file())
    }

    /// Begins to write, and to have written what is written: the header, to all of them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_at_once(self, header: &Header) -> Result<Direct, WriteError> {
        Direct::begin(self.opened, header)
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
        Ok(Sinks { running, totals: Totals::default(), totals_at: None })
    }
}

/// How old the counters may be that a chunk tells: reading them costs some microseconds.
const TOTALS_AGE: Duration = Duration::from_millis(100);

/// All outputs of a session.
pub struct Sinks {
    running: Vec<Running>,
    totals: Totals,
    /// When the counters were read.
    totals_at: Option<Instant>,
}

impl Sinks {
    /// Writes one record. It waits in memory until [`Sinks::flush`] finds that it has waited for long enough.
    #[inline]
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
    /// there are none; `totals` reads the session's counters.
    ///
    /// # Errors
    /// When nobody is left to write to.
    pub fn flush(&mut self, totals: impl FnOnce() -> Totals) -> Result<(), WriteError> {
        let now = Instant::now();
        let is_old = self.totals_at.is_none_or(|at| now.saturating_duration_since(at) >= TOTALS_AGE);
        if is_old || self.running.iter_mut().any(|output| output.is_due(now)) {
            self.totals = totals();
            self.totals_at = Some(now);
        }
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
