//! Runs the operator's command for each leak: the record on its standard input, the most wanted of it in its
//! environment, its output to our standard error. Never holds up who offers a leak, and never runs more
//! commands, longer or faster than it was told to; what that leaves out is counted.
//!
//! Names that strangers chose are handed over as data: the command goes to the shell as the operator typed it.

pub(crate) mod job;

use std::{
    ffi::OsString,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use self::job::{Ended, Job};
use crate::model::{record::Leak, units::plural};

/// Leaks that wait for their turn; a record has some kilobytes.
const WAITING: usize = 256;

/// The least time between the starts of two commands: ten a second.
const PACE: Duration = Duration::from_millis(100);

/// Failures that are told one by one.
const TOLD: u64 = 5;

/// Longest that the end of a session waits for commands.
const GRACE: Duration = Duration::from_secs(10);

/// What to run, and how much of it.
#[derive(Clone, Debug)]
pub(crate) struct ExecOptions {
    /// For `/bin/sh -c`.
    pub command: OsString,
    /// Commands that run at once.
    pub at_once: usize,
    /// A command that takes longer is killed, with everything in its process group.
    pub timeout: Duration,
}

/// The threads that run commands. Dropping it kills what runs.
pub(crate) struct Exec {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What the threads share.
struct Shared {
    options: ExecOptions,
    queue: Mutex<Receiver<Job>>,
    /// When the next command may start.
    next_start: Mutex<Instant>,
    /// When everything has to have ended; `None` while the session goes on.
    give_up: Mutex<Option<Instant>>,
    ran: AtomicU64,
    failed: AtomicU64,
    killed: AtomicU64,
    left_out: AtomicU64,
}

impl Exec {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(crate) fn start(options: ExecOptions) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(WAITING);
        let at_once = options.at_once;
        let shared = Arc::new(Shared {
            options,
            queue: Mutex::new(queue),
            next_start: Mutex::new(Instant::now()),
            give_up: Mutex::new(None),
            ran: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            killed: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        });
        let thread = |_| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("exec".to_owned()).spawn(move || shared.run())
        };
        let threads = (0..at_once).map(thread).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Some(jobs), threads, shared })
    }

    /// Has the command run for a leak, unless too many wait already.
    pub(crate) fn offer(&self, leak: &Leak) {
        let Some(jobs) = &self.jobs else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = jobs.try_send(Job::of(leak))
            && self.shared.left_out.fetch_add(1, Ordering::Relaxed) == 0
        {
            log::warn!("--exec: leaks come faster than commands end; for some of them none is run");
        }
    }

    /// Lets what runs and waits come to its end, for ten seconds at most and no longer than a command may take; says how
    /// it went.
    pub(crate) fn finish(mut self) {
        let grace = self.shared.options.timeout.min(GRACE);
        self.end(grace);
        let Shared { ran, failed, killed, left_out, .. } = self.shared.as_ref();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        log::info!(
            "--exec: {}, {} failed, {} killed for taking too long, {} left out",
            plural(count(ran), "command"),
            count(failed),
            count(killed),
            plural(count(left_out), "leak"),
        );
    }

    fn end(&mut self, grace: Duration) {
        *lock(&self.shared.give_up) = Some(Instant::now() + grace);
        // Without a sender the threads end when the queue is empty.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

impl Shared {
    /// The life of a thread.
    fn run(&self) {
        loop {
            // One thread waits for a job with the lock in hand, the others for the lock.
            let job = lock(&self.queue).recv();
            let Ok(job) = job else { return };
            if !self.wait_for_turn() {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.ran.fetch_add(1, Ordering::Relaxed);
            let give_up = || self.give_up_at();
            let counter = match job.run(&self.options.command, self.options.timeout, give_up) {
                Ended::Well => continue,
                Ended::Badly(why) => (&self.failed, why),
                Ended::Killed => (
                    &self.killed,
                    format!(
                        "was killed, having run for too long (--exec-timeout {:?})",
                        self.options.timeout
                    ),
                ),
            };
            let (counter, why) = counter;
            if counter.fetch_add(1, Ordering::Relaxed) < TOLD {
                log::warn!("--exec: the command {why}");
            }
        }
    }

    /// Waits until a command may start again; false when the session ends before.
    fn wait_for_turn(&self) -> bool {
        let turn = {
            let mut next = lock(&self.next_start);
            let turn = (*next).max(Instant::now());
            *next = turn + PACE;
            turn
        };
        loop {
            let now = Instant::now();
            if self.give_up_at().is_some_and(|give_up| give_up <= now) {
                return false;
            }
            match turn.checked_duration_since(now) {
                Some(left) if !left.is_zero() => thread::sleep(left.min(PACE)),
                _ => return true,
            }
        }
    }

    fn give_up_at(&self) -> Option<Instant> {
        *lock(&self.give_up)
    }
}

/// What is locked here is whole at any time, so a thread that panicked has broken nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
