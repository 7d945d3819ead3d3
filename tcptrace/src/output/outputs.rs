//! All outputs of a session, from opening to the end. Encodes nothing and writes nothing itself: each output is a
//! [`Channel`].

use std::time::{Duration, Instant};

use super::{
    channel::{Channel, Ending},
    error::{OpenError, StartError, WriteError},
    options::{FileOptions, OutputOptions, Policy, Route},
    target::Target,
};
use crate::{
    forms::view::View,
    model::record::{Header, Record, Summary, Totals},
};

/// Outputs that are open, and have nothing in them yet.
pub(crate) struct OpenedOutputs {
    opened: Vec<(Route, Target)>,
    files: FileOptions,
}

impl OpenedOutputs {
    /// Opens all of them. Nothing that is in a file is touched before [`OpenedOutputs::start`].
    ///
    /// # Errors
    /// When a file cannot be created, or it would not be safe to write to it as root.
    pub(crate) fn open(options: &OutputOptions) -> Result<Self, OpenError> {
        let OutputOptions { routes, files } = options;
        let open = |route: &Route| Ok((route.clone(), Target::open(route, files)?));
        Ok(Self { opened: routes.iter().map(open).collect::<Result<_, _>>()?, files: files.clone() })
    }

    /// Whether one of them is a file, which can be moved away.
    pub(crate) fn has_files(&self) -> bool {
        self.opened.iter().any(|(_, target)| target.is_file())
    }

    /// Starts them, each with the header of the session.
    ///
    /// # Errors
    /// When there can be no more threads; with [`Policy::Sync`] when the header cannot be written.
    pub(crate) fn start(self, header: &Header, policy: Policy) -> Result<Output, StartError> {
        let Self { opened, files } = self;
        let start = |(route, target): (Route, Target)| Channel::start(&route, target, &files, header, policy);
        let channels = opened.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Output { channels, totals: Totals::default(), totals_at: None, has_lost_reader: false })
    }
}

/// How old the counters may be that a chunk tells: reading them costs some microseconds.
const TOTALS_INTERVAL: Duration = Duration::from_millis(100);

/// Where a session writes.
pub(crate) struct Output {
    channels: Vec<Channel>,
    totals: Totals,
    /// When the counters were read.
    totals_at: Option<Instant>,
    /// The reader of standard output has gone.
    has_lost_reader: bool,
}

impl Output {
    /// Writes one record. It waits in memory until [`Output::flush`] finds that it has waited for long enough.
    #[inline]
    pub(crate) fn write(&mut self, record: &Record) {
        for channel in &mut self.channels {
            channel.write(record, &self.totals);
        }
    }

    /// Writes a view: as a whole where the form is for people, record by record elsewhere. Of its tables about `rows`
    /// rows are shown. If the view has the summary of the session, [`Output::finish`] needs none.
    pub(crate) fn show(&mut self, view: View, rows: usize) {
        let Self { channels, totals, .. } = self;
        let mut others: Vec<&mut Channel> = channels
            .iter_mut()
            .filter_map(|channel| (!channel.show(&view, rows)).then_some(channel))
            .collect();
        let summary = view.into_records(|record| {
            for channel in &mut others {
                channel.write(record, totals);
            }
        });
        if let Some(summary) = summary {
            for channel in others {
                channel.keep(summary.clone());
            }
            *totals = summary.totals;
        }
    }

    /// Whether text is shown on a terminal, where a view can take the place of the one before.
    pub(crate) fn has_page(&self) -> bool {
        self.channels.iter().any(Channel::is_page)
    }

    /// Passes on what has waited for long enough. To be called after each batch of records, and now and then when
    /// there are none; `totals` reads the session's counters.
    ///
    /// # Errors
    /// When nobody is left to write to; with [`Policy::Sync`] when something cannot be written.
    pub(crate) fn flush(&mut self, totals: impl FnOnce() -> Totals) -> Result<(), WriteError> {
        let now = Instant::now();
        let is_old = self.totals_at.is_none_or(|at| now.saturating_duration_since(at) >= TOTALS_INTERVAL);
        if self.channels.iter_mut().any(|channel| channel.is_due(now) || (is_old && channel.is_waiting())) {
            self.totals = totals();
            self.totals_at = Some(now);
        }
        for channel in &mut self.channels {
            channel.flush(now, &self.totals)?;
        }
        let count = self.channels.len();
        self.channels.retain(|channel| !channel.reader_has_gone());
        self.has_lost_reader |= self.channels.len() < count;
        if count > 0 && self.channels.is_empty() { Err(WriteError::ReaderGone) } else { Ok(()) }
    }

    /// Begins a new file wherever the present one was moved away.
    ///
    /// # Errors
    /// With [`Policy::Sync`] when there cannot be a new one.
    pub(crate) fn reopen(&mut self) -> Result<(), WriteError> {
        let Self { channels, totals, .. } = self;
        channels.iter_mut().try_for_each(|channel| channel.reopen(totals))
    }

    /// Records that are missing in the output that lacks the most of them.
    pub(crate) fn dropped(&self) -> u64 {
        self.channels.iter().map(Channel::dropped).max().unwrap_or(0)
    }

    /// Writes the summary, if there is one to end with. With [`Policy::Sync`] the outputs are complete then; otherwise
    /// [`Unfinished::wait`] waits for them.
    ///
    /// # Errors
    /// With [`Policy::Sync`] when an output cannot be written.
    pub(crate) fn finish(mut self, summary: Option<&Summary>) -> Result<Unfinished, WriteError> {
        self.totals = summary.map_or(self.totals, |summary| summary.totals);
        let Self { channels, totals, totals_at: _, has_lost_reader } = &mut self;
        let mut endings = Vec::new();
        // What waits is written everywhere before the first file is completed.
        for channel in channels.iter_mut() {
            channel.write_last(summary, totals)?;
        }
        for channel in std::mem::take(channels) {
            endings.extend(channel.end(totals)?);
        }
        Ok(Unfinished { endings, has_lost_reader: *has_lost_reader })
    }
}

impl Drop for Output {
    /// A session that fails leaves what it has.
    fn drop(&mut self) {
        for channel in &mut self.channels {
            channel.abandon(&self.totals);
        }
    }
}

/// Outputs whose last records are being written.
pub(crate) struct Unfinished {
    endings: Vec<Ending>,
    has_lost_reader: bool,
}

impl Unfinished {
    /// Waits until everything is written. An output that makes no progress for ten seconds is abandoned; the reader of
    /// standard output has all the time in the world, until `leave` returns.
    ///
    /// # Errors
    /// When an output is incomplete.
    pub(crate) async fn wait(&mut self, leave: impl Future<Output = ()>) -> Result<(), WriteError> {
        let mut leave = std::pin::pin!(leave);
        let (mut shortfalls, mut has_left) = (Vec::new(), false);
        for ending in &mut self.endings {
            shortfalls.extend(ending.wait(leave.as_mut(), &mut has_left).await);
        }
        if shortfalls.is_empty() { Ok(()) } else { Err(WriteError::Incomplete(shortfalls)) }
    }

    /// Whether whoever read standard output was gone before the end came.
    pub(crate) fn have_lost_reader(&self) -> bool {
        self.has_lost_reader || self.endings.iter().any(Ending::has_lost_reader)
    }
}
