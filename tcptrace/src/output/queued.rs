//! An output that a thread of its own writes. The session hands chunks over by a bounded queue, counts what finds it
//! full, and waits for the end. It never waits for a disk while it goes on, unless its records can wait.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use super::{
    error::Shortfall,
    options::Policy,
    queue::Last,
    target::Target,
    writer::{self, Shared, WriterEnd},
};
use crate::{
    forms::encoder::{Chunk, Encoder},
    model::record::Summary,
};

/// How long an output may take nothing at the end before it is abandoned.
const STUCK_TIMEOUT: Duration = Duration::from_secs(10);

/// When whoever waits at the end is told what for, and how long a terminal has for the summary after that.
const INFORM_AFTER: Duration = Duration::from_secs(3);
const SUMMARY_TIMEOUT: Duration = Duration::from_secs(3);

/// Time to flush queued chunks after a session failed.
const FAILED_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two looks at whether they are flushed.
const FAILED_INTERVAL: Duration = Duration::from_millis(5);

const NOT_WAITED_FOR: &str = "it was not waited for";

/// The session's side of the thread.
#[expect(clippy::struct_excessive_bools, reason = "they hold independently of each other")]
pub(crate) struct Queued {
    name: String,
    is_stdout: bool,
    is_terminal: bool,
    can_wait: bool,
    has_warned: bool,
    shared: Arc<Shared>,
    progress: Arc<AtomicU64>,
    outcome: oneshot::Receiver<WriterEnd>,
}

impl Queued {
    /// Starts the thread, which writes the preamble first.
    pub(crate) fn start(target: Target, preamble: Vec<u8>, policy: Policy) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let can_wait = policy == Policy::Wait;
        if can_wait {
            shared.queue.give_up_on_error();
        }
        let (name, is_stdout, progress) = (target.name().to_owned(), target.is_stdout(), target.progress());
        let is_terminal = target.is_terminal();
        let outcome = writer::start(target, preamble, Arc::clone(&shared))?;
        Ok(Self { name, is_stdout, is_terminal, can_wait, has_warned: false, shared, progress, outcome })
    }

    /// What people call the output.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn reader_has_gone(&self) -> bool {
        self.shared.reader_has_gone.load(Ordering::Relaxed)
    }

    /// Looks whether somebody reads standard output still: a session that has nothing to write does not find out by that.
    pub(crate) fn look_for_reader(&self) {
        if self.is_stdout && !self.reader_has_gone() && has_pipe_without_reader() {
            self.shared.reader_has_gone.store(true, Ordering::Relaxed);
            self.shared.queue.end(Chunk::default(), None);
        }
    }

    /// Records that will not be in the output.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Hands a chunk over, or counts its records as dropped.
    pub(crate) fn offer(&mut self, chunk: Chunk) {
        let offered = if self.can_wait {
            self.offer_and_wait(chunk)
        } else {
            self.shared.queue.offer(chunk, Duration::ZERO)
        };
        if let Err(chunk) = offered {
            self.shared.dropped.fetch_add(chunk.records, Ordering::Relaxed);
            let is_known = self.shared.is_failing.load(Ordering::Relaxed) || self.reader_has_gone();
            if !is_known && !std::mem::replace(&mut self.has_warned, true) {
                log::warn!(
                    "{} takes records more slowly than they come: some are dropped, and counted",
                    self.name
                );
            }
        }
    }

    /// Waits for room as long as something is taken.
    fn offer_and_wait(&self, mut chunk: Chunk) -> Result<(), Chunk> {
        loop {
            let before = self.progress.load(Ordering::Relaxed);
            chunk = match self.shared.queue.offer(chunk, STUCK_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(chunk) => chunk,
            };
            let has_moved = self.progress.load(Ordering::Relaxed) != before;
            if self.reader_has_gone() || !(self.is_stdout || has_moved) {
                return Err(chunk);
            }
        }
    }

    /// Has a new file begun if the present one was moved away.
    pub(crate) fn reopen(&self) {
        self.shared.queue.reopen();
    }

    /// Hands over what is left, and the summary, which tells what was dropped until the thread writes it.
    pub(crate) fn end(self, rest: Chunk, encoder: Encoder, summary: Option<Summary>) -> Ending {
        let Self { name, is_stdout, is_terminal, can_wait: _, has_warned: _, shared, progress, outcome } =
            self;
        let moved = progress.load(Ordering::Relaxed);
        shared.queue.end(rest, summary.map(|summary| Last { encoder, summary }));
        let began = Instant::now();
        Ending { name, is_stdout, is_terminal, shared, progress, outcome, moved, moved_at: began, began }
    }

    /// Hands over what is left of a session that failed, and waits a little for it.
    pub(crate) fn abandon(&mut self, rest: Chunk) {
        self.shared.queue.end(rest, None);
        let until = Instant::now() + FAILED_TIMEOUT;
        while matches!(self.outcome.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            && Instant::now() < until
        {
            thread::sleep(FAILED_INTERVAL);
        }
    }
}

/// An output whose last records are being written.
pub(crate) struct Ending {
    name: String,
    is_stdout: bool,
    is_terminal: bool,
    shared: Arc<Shared>,
    progress: Arc<AtomicU64>,
    outcome: oneshot::Receiver<WriterEnd>,
    /// Bytes that had been written at some time, and that time.
    moved: u64,
    moved_at: Instant,
    began: Instant,
}

impl Ending {
    /// Waits for the end; what is missing, if something is. `leave` may return once: that is noted in `has_left`, and
    /// nothing is waited for any more but the summary on a terminal, for a moment.
    pub(crate) async fn wait(
        &mut self,
        mut leave: Pin<&mut impl Future<Output = ()>>,
        has_left: &mut bool,
    ) -> Option<Shortfall> {
        let mut has_informed = !self.is_stdout;
        loop {
            let stuck_in = STUCK_TIMEOUT.saturating_sub(self.moved_at.elapsed());
            let inform_in = INFORM_AFTER.saturating_sub(self.began.elapsed());
            let left = if has_informed { stuck_in } else { stuck_in.min(inform_in) };
            tokio::select! {
                biased;
                outcome = &mut self.outcome => return self.shortfall(outcome.ok()),
                () = leave.as_mut(), if !*has_left => *has_left = true,
                () = tokio::time::sleep(left) => {
                    if !has_informed && self.began.elapsed() >= INFORM_AFTER {
                        has_informed = true;
                        log::info!("waiting for the reader of standard output; Ctrl-C ends that");
                    }
                    if self.moved_at.elapsed() < STUCK_TIMEOUT {
                        continue;
                    }
                    let moved = self.progress.load(Ordering::Relaxed);
                    let is_stuck = moved == self.moved;
                    (self.moved, self.moved_at) = (moved, Instant::now());
                    if is_stuck && !self.is_stdout {
                        return Some(self.abandoned("it has taken nothing for ten seconds"));
                    }
                }
            }
            if *has_left {
                return self.leave().await;
            }
        }
    }

    /// Gives up what waits. On a terminal the summary still comes, if it takes it at once.
    async fn leave(&mut self) -> Option<Shortfall> {
        if self.is_terminal {
            let skipped = self.shared.queue.skip();
            self.shared.dropped.fetch_add(skipped, Ordering::Relaxed);
            if let Ok(Ok(mut end)) = tokio::time::timeout(SUMMARY_TIMEOUT, &mut self.outcome).await {
                end.failure.get_or_insert_with(|| NOT_WAITED_FOR.to_owned());
                return self.shortfall(Some(end));
            }
        }
        Some(self.abandoned(NOT_WAITED_FOR))
    }

    /// Whether nobody reads standard output any more: what is still in the pipe nobody will.
    pub(crate) fn has_lost_reader(&self) -> bool {
        self.is_stdout && (self.shared.reader_has_gone.load(Ordering::Relaxed) || has_pipe_without_reader())
    }

    fn shortfall(&self, outcome: Option<WriterEnd>) -> Option<Shortfall> {
        if self.shared.reader_has_gone.load(Ordering::Relaxed) {
            return None;
        }
        let outcome = outcome.unwrap_or_default();
        let reason = || outcome.failure.unwrap_or_else(|| "it was too slow".to_owned());
        (!outcome.is_complete).then(|| self.missing(reason()))
    }

    fn abandoned(&self, reason: &str) -> Shortfall {
        let left = self.shared.queue.close();
        self.shared.dropped.fetch_add(left, Ordering::Relaxed);
        self.missing(reason.to_owned())
    }

    fn missing(&self, reason: String) -> Shortfall {
        let records = self.shared.dropped.load(Ordering::Relaxed);
        Shortfall { name: self.name.clone(), records, reason }
    }
}

fn has_pipe_without_reader() -> bool {
    let stdout = io::stdout();
    let mut pipe = [PollFd::new(&stdout, PollFlags::empty())];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut pipe, Some(&none)).is_ok() && pipe.iter().any(|pipe| pipe.revents().contains(PollFlags::ERR))
}
