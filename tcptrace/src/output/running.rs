//! The session's side of one output: encodes, hands over chunks that are large or old enough, counts
//! what finds the queue full, and waits for the end. Never waits for a disk while a session goes on.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Shortfall,
    file::{Existing, OpenError},
    options::{Destination, FileOptions, Output},
    queue::Last,
    target::Target,
    writer::{self, Outcome, Shared},
};
use crate::forms::{
    encoder::{Chunk, Encoder},
    format::Format,
    palette::Palette,
    text::{self, snapshot::Extent},
};
use crate::model::record::{Header, Record, Snapshot, Summary, Totals};

/// A chunk is handed over when it has this many bytes: a few hundred lines, or a few thousand records of a recording.
/// It is a frame of a compressed file.
const CHUNK_BYTES: usize = 256 * 1024;

/// Parts that a file of limited size is written in, at least.
const CHUNKS_A_FILE: u64 = 8;

/// The smallest chunk, in bytes.
const LEAST_CHUNK_BYTES: u64 = 4096;

/// How long an output may take nothing at the end before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a terminal is waited for, so that records and the status line do not mix.
const TERMINAL_PATIENCE: Duration = Duration::from_millis(20);

/// How long what is left is waited for when a session has failed.
const FAILED_PATIENCE: Duration = Duration::from_secs(1);

/// What happens while an output is slower than its records come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// They come when they come: what does not find room is dropped.
    Live,
    /// They can wait.
    Patient,
}

/// Opens an output.
pub(crate) fn open(output: &Output, files: &FileOptions) -> Result<Target, OpenError> {
    let is_plain = !output.is_compressed && output.format != Format::Tct;
    match &output.destination {
        Destination::Stdout if output.format == Format::Tct && io::stdout().is_terminal() => {
            Err(refused(output, "a recording is no text: name a file with -o, or write into a pipe"))
        }
        Destination::Stdout => Target::stdout(output.format).map_err(|source| OpenError::System {
            path: "standard output".into(),
            source,
            remedy: "",
        }),
        Destination::File(_) if files.existing == Existing::Append && !is_plain => {
            let reason = "records cannot be added to a recording or a compressed file; name a new file";
            Err(refused(output, reason))
        }
        Destination::File(path) => {
            Target::file(path.clone(), output.format, output.is_compressed, files.clone())
        }
    }
}

/// Why an output is not opened.
fn refused(output: &Output, reason: &str) -> OpenError {
    let path = match &output.destination {
        Destination::Stdout => Path::new("standard output"),
        Destination::File(path) => path,
    };
    OpenError::Refused { path: path.to_owned(), reason: reason.to_owned() }
}

/// An output with its thread.
pub(crate) struct Running {
    name: String,
    format: Format,
    encoder: Encoder,
    /// Bytes of a chunk.
    room: usize,
    is_stdout: bool,
    is_terminal: bool,
    pace: Pace,
    /// How long a record waits.
    flush: Duration,
    waiting_since: Option<Instant>,
    has_told: bool,
    shared: Arc<Shared>,
    progress: Arc<AtomicU64>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Running {
    /// Starts the thread that writes the header and what follows.
    pub(crate) fn start(
        output: &Output,
        target: Target,
        files: &FileOptions,
        header: &Header,
        pace: Pace,
    ) -> io::Result<Self> {
        let is_stdout = output.destination == Destination::Stdout;
        let is_terminal = is_stdout && io::stdout().is_terminal();
        let is_file = target.is_file();
        let part = files.rotation.size.map_or(u64::MAX, |size| (size / CHUNKS_A_FILE).max(LEAST_CHUNK_BYTES));
        let room = usize::try_from(part).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let palette = if is_stdout { Palette::for_stdout() } else { Palette::default() };
        let mut encoder = Encoder::new(output.format, palette, room);
        // A person who sees the records come knows what they typed.
        let preamble = match output.format {
            Format::Text if !is_file => Vec::new(),
            _ => encoder.preamble(header),
        };
        let shared = Arc::new(Shared::default());
        if pace == Pace::Patient {
            shared.queue.hurry();
        }
        let (name, progress) = (target.name().to_owned(), target.progress());
        let outcome = writer::start(target, preamble, Arc::clone(&shared))?;
        // Lines are seen at once; blocks of a recording are worth waiting for.
        let is_immediate = is_stdout && output.format != Format::Tct;
        Ok(Self {
            name,
            format: output.format,
            encoder,
            room,
            is_stdout,
            is_terminal,
            pace,
            flush: if is_immediate { Duration::ZERO } else { files.flush },
            waiting_since: None,
            has_told: false,
            shared,
            progress,
            outcome,
        })
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn reader_has_gone(&self) -> bool {
        self.shared.reader_has_gone.load(Ordering::Relaxed)
    }

    /// Records that will not be in the output.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Encodes a record.
    #[inline]
    pub(crate) fn write(&mut self, record: &Record, totals: &Totals) {
        self.encoder.push(record, totals);
        if self.encoder.len() >= self.room {
            self.hand_over(totals);
        }
    }

    /// Encodes one look at the host, if the form has one for it.
    pub(crate) fn write_snapshot(&mut self, snapshot: &Snapshot, rows: usize) {
        let size = crate::output::terminal_size(io::stdout()).filter(|_| self.is_terminal);
        let extent = Extent { rows, width: size.map(|(width, _)| width) };
        self.encoder.push_text(true, |out, palette| text::snapshot::write(out, snapshot, extent, palette));
    }

    /// Whether something has waited for long enough.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if self.encoder.is_empty() {
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        now.saturating_duration_since(since) >= self.flush
    }

    /// Hands over what has waited for long enough.
    pub(crate) fn flush(&mut self, now: Instant, totals: &Totals) {
        if self.is_due(now) {
            self.hand_over(totals);
            if self.is_terminal {
                self.shared.queue.settle(TERMINAL_PATIENCE);
            }
        }
    }

    /// Begins a new file if the present one was moved away.
    pub(crate) fn reopen(&mut self, totals: &Totals) {
        self.hand_over(totals);
        self.shared.queue.reopen();
    }

    fn take(&mut self, totals: &Totals) -> Chunk {
        self.waiting_since = None;
        self.encoder.take(&Totals { dropped: self.dropped(), ..*totals })
    }

    fn hand_over(&mut self, totals: &Totals) {
        if self.encoder.is_empty() {
            return;
        }
        let chunk = self.take(totals);
        let offered = match self.pace {
            Pace::Live => self.shared.queue.offer(chunk, Duration::ZERO),
            Pace::Patient => self.offer_patiently(chunk),
        };
        if let Err(chunk) = offered {
            self.shared.dropped.fetch_add(chunk.records, Ordering::Relaxed);
            let is_known = self.shared.is_failing.load(Ordering::Relaxed) || self.reader_has_gone();
            if !is_known && !std::mem::replace(&mut self.has_told, true) {
                log::warn!(
                    "{} takes records more slowly than they come: some are dropped, and counted",
                    self.name
                );
            }
        }
    }

    /// Waits for room as long as something is taken.
    fn offer_patiently(&self, mut chunk: Chunk) -> Result<(), Chunk> {
        loop {
            let before = self.progress.load(Ordering::Relaxed);
            chunk = match self.shared.queue.offer(chunk, PATIENCE) {
                Ok(()) => return Ok(()),
                Err(chunk) => chunk,
            };
            let has_moved = self.progress.load(Ordering::Relaxed) != before;
            if self.reader_has_gone() || !(self.is_stdout || has_moved) {
                return Err(chunk);
            }
        }
    }

    /// Hands over what is left, and the summary.
    pub(crate) fn end(mut self, summary: Option<&Summary>, totals: &Totals) -> Ending {
        if let (Format::Csv, Some(summary)) = (self.format, summary) {
            log::info!("{} (a table holds no sums): {}", self.name, text::totals(summary));
        }
        let rest = self.take(totals);
        let Self { name, encoder, is_stdout, shared, progress, outcome, .. } = self;
        let moved = progress.load(Ordering::Relaxed);
        shared.queue.end(rest, summary.cloned().map(|summary| Last { encoder, summary }));
        Ending { name, is_stdout, shared, progress, outcome, moved, moved_at: Instant::now() }
    }

    /// Ends without a summary, and waits a little for what is left.
    pub(crate) fn abandon(&mut self, totals: &Totals) {
        let rest = self.take(totals);
        self.shared.queue.end(rest, None);
        let until = Instant::now() + FAILED_PATIENCE;
        while matches!(self.outcome.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            && Instant::now() < until
        {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// An output whose last records are being written.
pub(crate) struct Ending {
    name: String,
    is_stdout: bool,
    shared: Arc<Shared>,
    progress: Arc<AtomicU64>,
    outcome: oneshot::Receiver<Outcome>,
    /// Bytes that had been written at some time, and that time.
    moved: u64,
    moved_at: Instant,
}

impl Ending {
    /// Waits for the end; what is missing, if something is. `leave` may return once: that is noted in `has_left`, and
    /// nothing is waited for any more.
    pub(crate) async fn wait(
        &mut self,
        mut leave: Pin<&mut impl Future<Output = ()>>,
        has_left: &mut bool,
    ) -> Option<Shortfall> {
        let mut has_told = false;
        loop {
            let left = PATIENCE.saturating_sub(self.moved_at.elapsed());
            tokio::select! {
                biased;
                outcome = &mut self.outcome => return self.shortfall(outcome.ok()),
                () = leave.as_mut(), if !*has_left => *has_left = true,
                () = tokio::time::sleep(left) => {
                    let moved = self.progress.load(Ordering::Relaxed);
                    let is_stuck = moved == self.moved;
                    (self.moved, self.moved_at) = (moved, Instant::now());
                    if is_stuck && !self.is_stdout {
                        return Some(self.given_up("it has taken nothing for ten seconds"));
                    }
                    if is_stuck && !std::mem::replace(&mut has_told, true) {
                        log::info!("waiting for the reader of standard output; Ctrl-C ends that");
                    }
                }
            }
            if *has_left {
                return Some(self.given_up("it was not waited for"));
            }
        }
    }

    fn shortfall(&self, outcome: Option<Outcome>) -> Option<Shortfall> {
        if self.shared.reader_has_gone.load(Ordering::Relaxed) {
            return None;
        }
        let outcome = outcome.unwrap_or_default();
        let reason = || outcome.failure.unwrap_or_else(|| "it was too slow".to_owned());
        (!outcome.is_complete).then(|| self.missing(reason()))
    }

    fn given_up(&self, reason: &str) -> Shortfall {
        let left = self.shared.queue.close();
        self.shared.dropped.fetch_add(left, Ordering::Relaxed);
        self.missing(reason.to_owned())
    }

    fn missing(&self, reason: String) -> Shortfall {
        let records = self.shared.dropped.load(Ordering::Relaxed);
        Shortfall { name: self.name.clone(), records, reason }
    }
}
