//! One output of a session: encodes, and passes chunks on that are large or old enough. Writes nothing itself: the
//! delivery does, on the session's thread ([`Synchronous`]) or through a queue ([`Queued`]).

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use super::{
    error::{StartError, WriteError},
    options::{FileOptions, Policy, Route},
    queued::Queued,
    synchronous::Synchronous,
    target::Target,
    terminal,
};
use crate::{
    forms::{
        encoder::{Chunk, Encoder},
        form::{Ability, EncoderSettings, Format},
        palette::Palette,
        text::summary,
        view::{Extent, View},
    },
    model::record::{Header, Record, Summary, Totals},
};

pub(crate) use super::queued::Ending;

/// A chunk is handed over when it has this many bytes: a few hundred lines, or a few thousand records of a recording.
/// It is a frame of a compressed file.
const CHUNK_BYTES: usize = 256 * 1024;

/// Room for what a session says between two flushes that writes it itself, in bytes.
const SYNC_BYTES: usize = 16 * 1024;

/// How often the size of the terminal is asked for.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// How often a session looks whether somebody reads standard output still.
const READER_INTERVAL: Duration = Duration::from_secs(1);

/// Parts that a file of limited size is written in, at least.
const CHUNKS_A_FILE: u64 = 8;

/// The smallest chunk, in bytes.
const LEAST_CHUNK_BYTES: u64 = 4096;

/// An output.
pub(crate) struct Channel {
    format: &'static Format,
    encoder: Encoder,
    /// A chunk of so many bytes is passed on.
    most: usize,
    /// How long a record waits.
    flush: Duration,
    waiting_since: Option<Instant>,
    refreshed_at: Option<Instant>,
    looked_for_reader_at: Option<Instant>,
    is_terminal: bool,
    /// The summary of the session, which a view had.
    summary: Option<Summary>,
    delivery: Delivery,
}

#[expect(clippy::large_enum_variant, reason = "a session has few outputs, one of these each")]
enum Delivery {
    Synchronous(Synchronous),
    Queued(Queued),
}

impl Channel {
    /// Starts an output with the header of the session.
    pub(crate) fn start(
        route: &Route,
        target: Target,
        files: &FileOptions,
        header: &Header,
        policy: Policy,
    ) -> Result<Self, StartError> {
        let format = route.format;
        let is_stdout = target.is_stdout();
        let is_terminal = is_stdout && io::stdout().is_terminal();
        let palette = if is_stdout { terminal::palette_of_stdout() } else { Palette::default() };
        let room = if policy == Policy::Sync { SYNC_BYTES } else { chunk_bytes(files) };
        let mut encoder = Encoder::new(format, EncoderSettings { palette, room });
        // A person who sees the records come knows what they typed.
        let has_preamble = target.is_file() || !format.can(Ability::ForPeople);
        let preamble = if has_preamble { encoder.preamble(header) } else { Vec::new() };
        let (most, delivery) = match policy {
            Policy::Sync => (usize::MAX, Delivery::Synchronous(Synchronous::start(target, preamble)?)),
            Policy::Drop | Policy::Wait => {
                let queued = Queued::start(target, preamble, policy).map_err(StartError::Thread)?;
                (room, Delivery::Queued(queued))
            }
        };
        // Lines are seen at once; blocks of a recording are worth waiting for.
        let is_immediate = policy == Policy::Sync || is_stdout && format.can(Ability::Lines);
        Ok(Self {
            format,
            encoder,
            most,
            flush: if is_immediate { Duration::ZERO } else { files.flush },
            waiting_since: None,
            refreshed_at: None,
            looked_for_reader_at: None,
            is_terminal,
            summary: None,
            delivery,
        })
    }

    /// Encodes a record.
    #[inline]
    pub(crate) fn write(&mut self, record: &Record, totals: &Totals) {
        self.encoder.push(record, totals);
        if self.encoder.len() >= self.most {
            self.pass_on_in_queue(totals);
        }
    }

    /// Shows a view as a whole; returns false when the form has its records instead.
    pub(crate) fn show(&mut self, view: &View, rows: usize) -> bool {
        let extent = self.extent(rows);
        self.encoder.show(view, extent)
    }

    /// Whether text is shown on a terminal.
    pub(crate) fn is_page(&self) -> bool {
        self.format.can(Ability::ForPeople) && self.extent(0).height.is_some()
    }

    fn extent(&self, rows: usize) -> Extent {
        if self.is_terminal {
            terminal::extent(io::stdout(), rows)
        } else {
            Extent { rows, width: None, height: None }
        }
    }

    /// Keeps the summary until the end: it tells what was dropped until then.
    pub(crate) fn keep(&mut self, summary: Summary) {
        self.summary = Some(summary);
    }

    /// Whether there is something to pass on.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.encoder.is_empty()
    }

    /// Whether something has waited for long enough.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if !self.is_waiting() {
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        now.saturating_duration_since(since) >= self.flush
    }

    /// Tells a form for people what the terminal is like at present, now and then.
    fn refresh(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < REFRESH_INTERVAL;
        if self.is_terminal && !self.refreshed_at.is_some_and(is_recent) {
            self.refreshed_at = Some(now);
            self.encoder.refresh(self.extent(usize::MAX), Some(now));
        }
    }

    fn look_for_reader(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < READER_INTERVAL;
        if let Delivery::Queued(queued) = &self.delivery
            && !self.looked_for_reader_at.is_some_and(is_recent)
        {
            self.looked_for_reader_at = Some(now);
            queued.look_for_reader();
        }
    }

    /// Passes on what has waited for long enough.
    pub(crate) fn flush(&mut self, now: Instant, totals: &Totals) -> Result<(), WriteError> {
        self.refresh(now);
        self.look_for_reader(now);
        if self.is_due(now) {
            self.pass_on(totals)?;
        }
        Ok(())
    }

    /// Begins a new file if the present one was moved away.
    pub(crate) fn reopen(&mut self, totals: &Totals) -> Result<(), WriteError> {
        self.pass_on(totals)?;
        match &mut self.delivery {
            Delivery::Synchronous(synchronous) => synchronous.reopen(),
            Delivery::Queued(queued) => {
                queued.reopen();
                Ok(())
            }
        }
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn reader_has_gone(&self) -> bool {
        match &self.delivery {
            // That is an error of whoever writes.
            Delivery::Synchronous(_) => false,
            Delivery::Queued(queued) => queued.reader_has_gone(),
        }
    }

    /// Records that will not be in the output.
    pub(crate) fn dropped(&self) -> u64 {
        match &self.delivery {
            Delivery::Synchronous(_) => 0,
            Delivery::Queued(queued) => queued.dropped(),
        }
    }

    fn take(&mut self, totals: &Totals) -> Chunk {
        self.waiting_since = None;
        self.encoder.take(&Totals { dropped: self.dropped(), ..*totals })
    }

    fn pass_on(&mut self, totals: &Totals) -> Result<(), WriteError> {
        if self.encoder.is_empty() {
            return Ok(());
        }
        let chunk = self.take(totals);
        match &mut self.delivery {
            Delivery::Synchronous(synchronous) => synchronous.write(&chunk),
            Delivery::Queued(queued) => {
                queued.offer(chunk);
                Ok(())
            }
        }
    }

    /// A chunk is full. Only a queue has chunks of limited size: what is written at once waits for its flush.
    #[cold]
    fn pass_on_in_queue(&mut self, totals: &Totals) {
        if let Delivery::Queued(_) = self.delivery {
            // A queue reports what it drops at the end.
            let _no_error = self.pass_on(totals);
        }
    }

    /// Prepares the end: decides which summary it is, and writes out what waits where the session itself writes.
    pub(crate) fn write_last(
        &mut self,
        summary: Option<&Summary>,
        totals: &Totals,
    ) -> Result<(), WriteError> {
        if self.is_terminal {
            self.encoder.refresh(self.extent(usize::MAX), None);
        }
        self.summary = summary.cloned().or(self.summary.take());
        if let Some(summary) = &self.summary
            && !self.format.can(Ability::Summary)
        {
            log::info!("{} (a table holds no sums): {}", self.name(), summary::totals(summary));
        }
        if let Delivery::Synchronous(_) = self.delivery {
            if let Some(summary) = self.summary.take() {
                self.encoder.push(&Record::Summary(Box::new(summary)), totals);
            }
            self.pass_on(totals)?;
        }
        Ok(())
    }

    fn name(&self) -> &str {
        match &self.delivery {
            Delivery::Synchronous(synchronous) => synchronous.name(),
            Delivery::Queued(queued) => queued.name(),
        }
    }

    /// Ends the output; what has to be waited for, if something has to.
    pub(crate) fn end(mut self, totals: &Totals) -> Result<Option<Ending>, WriteError> {
        let rest = self.take(totals);
        let Self { encoder, summary, delivery, .. } = self;
        match delivery {
            Delivery::Synchronous(synchronous) => synchronous.finish().map(|()| None),
            Delivery::Queued(queued) => Ok(Some(queued.end(rest, encoder, summary))),
        }
    }

    /// Ends without a summary, and waits a little for what is left.
    pub(crate) fn abandon(&mut self, totals: &Totals) {
        let rest = self.take(totals);
        if let Delivery::Queued(queued) = &mut self.delivery {
            queued.abandon(rest);
        }
    }
}

/// Bytes of a chunk: small files have small ones.
fn chunk_bytes(files: &FileOptions) -> usize {
    let part = files.rotation.size.map_or(u64::MAX, |size| (size / CHUNKS_A_FILE).max(LEAST_CHUNK_BYTES));
    usize::try_from(part).unwrap_or(usize::MAX).min(CHUNK_BYTES)
}
