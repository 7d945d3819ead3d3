//! The thread that writes one output: takes chunks out of the queue, keeps trying while the output cannot
//! be written, says so once, and counts what is missing in the end. Encodes nothing but the summary,
//! which has to tell that count.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    error::in_words,
    queue::{Interruption, Last, Next, Queue},
    target::Target,
};
use crate::{forms::encoder::Chunk, model::record::Record};

/// How often an output that cannot be written is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is reported that it can be written again.
const RECOVERY_INTERVAL: Duration = Duration::from_mins(1);

/// What session and writer tell each other beside the queue.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The chunks.
    pub queue: Queue,
    /// Records that will not be in the output.
    pub dropped: AtomicU64,
    /// The output cannot be written at present.
    pub is_failing: AtomicBool,
    /// Nobody reads standard output any more.
    pub reader_has_gone: AtomicBool,
}

/// What became of an output.
#[derive(Debug, Default)]
pub(crate) struct WriterEnd {
    /// Whether everything is in it.
    pub is_complete: bool,
    /// What went wrong last, if something did.
    pub failure: Option<String>,
}

/// Starts the thread. The preamble is what each file begins with.
///
/// # Errors
/// When there can be no more threads.
pub(crate) fn start(
    target: Target,
    preamble: Vec<u8>,
    shared: Arc<Shared>,
) -> io::Result<oneshot::Receiver<WriterEnd>> {
    let (sender, outcome) = oneshot::channel();
    thread::Builder::new().name("writer".to_owned()).spawn(move || {
        let writer = Writer {
            target,
            shared,
            failure: None,
            is_incomplete: false,
            has_reported: false,
            recovered_at: None,
        };
        // Nobody waits for a writer that has been given up.
        let _ = sender.send(writer.run(preamble));
    })?;
    Ok(outcome)
}

/// Bytes that a terminal is given in one piece, about: whole lines.
const PIECE_BYTES: usize = 512;

/// How much of these bytes is a piece.
fn piece_length(bytes: &[u8]) -> usize {
    let most = bytes.get(..PIECE_BYTES).unwrap_or(bytes);
    let is_end = |byte: &u8| *byte == b'\n';
    let last = most.iter().rposition(is_end).or_else(|| bytes.iter().position(is_end));
    last.map_or(bytes.len(), |end| end + 1)
}

struct Writer {
    target: Target,
    shared: Arc<Shared>,
    failure: Option<String>,
    is_incomplete: bool,
    has_reported: bool,
    recovered_at: Option<Instant>,
}

impl Writer {
    fn run(mut self, preamble: Vec<u8>) -> WriterEnd {
        let begun = self.target.begin(preamble);
        self.note(begun);
        loop {
            match self.shared.queue.next(self.target.deadline()) {
                Next::Chunk(chunk) => self.deliver_or_skip(&chunk),
                Next::Reopen => self.reopen(),
                Next::Nothing => {
                    let rotated = self.target.rotate_if_old();
                    self.note(rotated);
                }
                Next::End(last) => {
                    if let Some(last) = last {
                        self.sum_up(*last);
                    }
                    break;
                }
            }
            if self.shared.reader_has_gone.load(Ordering::Relaxed) {
                break;
            }
            let synced = self.target.sync_if_due();
            self.is_incomplete |= !self.note(synced);
        }
        let finished = self.target.finish();
        self.is_incomplete |= !self.note(finished);
        self.drop_records(self.shared.queue.close());
        let has_dropped = self.shared.dropped.load(Ordering::Relaxed) > 0;
        WriterEnd { is_complete: !self.is_incomplete && !has_dropped, failure: self.failure }
    }

    /// Writes a chunk. Of a terminal that is slow the rest can be left out after each line or so.
    fn deliver_or_skip(&mut self, chunk: &Chunk) {
        if !self.target.is_terminal() {
            return self.deliver(chunk);
        }
        let mut rest = chunk.bytes.as_slice();
        while !rest.is_empty() && !self.shared.reader_has_gone.load(Ordering::Relaxed) {
            if self.shared.queue.is_skipping() {
                return self.drop_records(chunk.records);
            }
            let (piece, others) = rest.split_at(piece_length(rest));
            self.deliver(&Chunk { bytes: piece.to_vec(), records: 0 });
            rest = others;
        }
    }

    /// Writes a chunk, however long that takes, while the session goes on.
    fn deliver(&mut self, chunk: &Chunk) {
        loop {
            let written = self.target.write(chunk);
            let is_written = self.note(written);
            if is_written && chunk.records > 0 {
                self.note_recovery();
            }
            if is_written || self.shared.reader_has_gone.load(Ordering::Relaxed) {
                return;
            }
            match self.shared.queue.pause(RETRY_INTERVAL) {
                Interruption::Time => {}
                Interruption::Reopen => self.reopen(),
                // What could not be written at once now will not be.
                Interruption::End => {
                    let kept = self.target.abandon(chunk);
                    self.drop_records(chunk.records - kept);
                    return;
                }
            }
        }
    }

    fn reopen(&mut self) {
        let reopened = self.target.reopen();
        self.note(reopened);
    }

    /// Writes the summary, which tells what was dropped up to now.
    fn sum_up(&mut self, Last { mut encoder, mut summary }: Last) {
        summary.totals.dropped = self.shared.dropped.load(Ordering::Relaxed);
        let totals = summary.totals;
        encoder.push(&Record::Summary(Box::new(summary)), &totals);
        let chunk = encoder.take(&totals);
        if chunk.records > 0 {
            self.deliver(&chunk);
        }
    }

    fn drop_records(&self, records: u64) {
        self.shared.dropped.fetch_add(records, Ordering::Relaxed);
    }

    /// Takes note of how an attempt ended, and reports the first failure; returns whether it succeeded.
    fn note(&mut self, result: io::Result<()>) -> bool {
        if let Some(records) = self.target.take_vanished() {
            self.drop_records(records);
            self.is_incomplete = true;
            self.report("it was removed while it was being written".to_owned());
        }
        match result {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.target.is_stdout() => {
                self.shared.reader_has_gone.store(true, Ordering::Relaxed);
                false
            }
            Err(error) => {
                self.shared.is_failing.store(true, Ordering::Relaxed);
                self.report(in_words(&error));
                false
            }
        }
    }

    /// Records were written: that is news where there was an error, though not each time a disk has room for a few.
    fn note_recovery(&mut self) {
        let is_news = self.shared.is_failing.swap(false, Ordering::Relaxed);
        let is_recent = |at: Instant| at.elapsed() < RECOVERY_INTERVAL;
        if is_news && !self.recovered_at.is_some_and(is_recent) {
            self.recovered_at = Some(Instant::now());
            log::info!("{} can be written again", self.target.name());
        }
    }

    fn report(&mut self, failure: String) {
        if !std::mem::replace(&mut self.has_reported, true) {
            let is_over = self.shared.queue.gives_up_on_error();
            let next = if is_over { "" } else { "; the session goes on, and tries again" };
            log::error!("cannot write to {}: {failure}{next}", self.target.name());
        }
        self.failure = Some(failure);
    }
}
