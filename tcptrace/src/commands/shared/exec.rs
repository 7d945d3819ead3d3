//! Runs the operator's command for each leak, with the record on its standard input, the main fields in its
//! environment, and its output on our standard error. Never blocks the caller, and never exceeds the limits
//! on parallel commands, duration and rate; counts the leaks left out.
//!
//! Untrusted names are passed as data only: the shell gets the command as the operator typed it.

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

use self::job::{CommandEnd, LeakCommand};
use crate::model::{record::Leak, units::plural};

/// Most leaks that wait for their turn, at some kilobytes each.
const QUEUE_LENGTH: usize = 256;

/// The least time between the starts of two commands.
const START_INTERVAL: Duration = Duration::from_millis(100);

/// Most failures logged one by one.
const MOST_LOGGED_FAILURES: u64 = 5;

/// The longest time that the end of a session waits for commands.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// What to run, and its limits.
#[derive(Clone, Debug)]
pub(crate) struct ExecOptions {
    /// For `/bin/sh -c`.
    pub command: OsString,
    /// Most commands that run in parallel.
    pub at_once: usize,
    /// A command that takes longer is killed with its process group.
    pub timeout: Duration,
}

/// The threads that run commands. Dropping it kills running commands.
pub(crate) struct Exec {
    jobs: Option<SyncSender<LeakCommand>>,
    threads: Vec<JoinHandle<()>>,
    state: Arc<ExecState>,
}

/// The state shared by the threads.
struct ExecState {
    options: ExecOptions,
    queue: Mutex<Receiver<LeakCommand>>,
    /// When the next command may start.
    next_start: Mutex<Instant>,
    /// When commands are killed; `None` until the session ends.
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
    /// When the system has no thread.
    pub(crate) fn start(options: ExecOptions) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_LENGTH);
        let at_once = options.at_once;
        let state = Arc::new(ExecState {
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
            let state = Arc::clone(&state);
            thread::Builder::new().name("exec".to_owned()).spawn(move || state.run())
        };
        let threads = (0..at_once).map(thread).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Some(jobs), threads, state })
    }

    /// Queues the command for a leak; leaves the leak out if the queue is full.
    pub(crate) fn offer(&self, leak: &Leak) {
        let Some(jobs) = &self.jobs else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            jobs.try_send(LeakCommand::of(leak))
            && self.state.left_out.fetch_add(1, Ordering::Relaxed) == 0
        {
            log::warn!("--exec: leaks come faster than commands end; for some of them none is run");
        }
    }

    /// Waits for running and queued commands, for at most ten seconds and the timeout of a command. Logs the counts.
    pub(crate) fn finish(mut self) {
        let timeout = self.state.options.timeout.min(END_TIMEOUT);
        self.end(timeout);
        let ExecState { ran, failed, killed, left_out, .. } = self.state.as_ref();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        log::info!(
            "--exec: {}, {} failed, {} killed for taking too long, {} left out",
            plural(count(ran), "command"),
            count(failed),
            count(killed),
            plural(count(left_out), "leak"),
        );
    }

    fn end(&mut self, timeout: Duration) {
        *lock(&self.state.give_up) = Some(Instant::now() + timeout);
        // Without a sender, the threads end when the queue is empty.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has already reported it.
            let _ = thread.join();
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

impl ExecState {
    /// The main function of a thread.
    fn run(&self) {
        loop {
            // One thread waits for a job and holds the lock; the others wait for the lock.
            let job = lock(&self.queue).recv();
            let Ok(job) = job else { return };
            if !self.wait_for_turn() {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.ran.fetch_add(1, Ordering::Relaxed);
            let give_up = || self.give_up_at();
            let counter = match job.run(&self.options.command, self.options.timeout, give_up) {
                CommandEnd::Succeeded => continue,
                CommandEnd::Failed(why) => (&self.failed, why),
                CommandEnd::Killed => (
                    &self.killed,
                    format!(
                        "was killed, having run for too long (--exec-timeout {:?})",
                        self.options.timeout
                    ),
                ),
            };
            let (counter, why) = counter;
            if counter.fetch_add(1, Ordering::Relaxed) < MOST_LOGGED_FAILURES {
                log::warn!("--exec: the command {why}");
            }
        }
    }

    /// Waits until a command may start; false if the session ends first.
    fn wait_for_turn(&self) -> bool {
        let turn = {
            let mut next = lock(&self.next_start);
            let turn = (*next).max(Instant::now());
            *next = turn + START_INTERVAL;
            turn
        };
        loop {
            let now = Instant::now();
            if self.give_up_at().is_some_and(|give_up| give_up <= now) {
                return false;
            }
            match turn.checked_duration_since(now) {
                Some(left) if !left.is_zero() => thread::sleep(left.min(START_INTERVAL)),
                _ => return true,
            }
        }
    }

    fn give_up_at(&self) -> Option<Instant> {
        *lock(&self.give_up)
    }
}

/// Ignores poisoning: the locked values are consistent at all times.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::model::{examples, record::Record};

    fn ran(command: OsString, timeout: Duration) -> Arc<ExecState> {
        let exec = Exec::start(ExecOptions { command, at_once: 1, timeout }).unwrap();
        exec.offer(&examples::leak());
        let state = Arc::clone(&exec.state);
        exec.finish();
        state
    }

    fn counts(state: &ExecState) -> [u64; 4] {
        let ExecState { ran, failed, killed, left_out, .. } = state;
        [ran, failed, killed, left_out].map(|counter| counter.load(Ordering::Relaxed))
    }

    fn into(path: &Path) -> OsString {
        let mut command = OsString::from("{ cat; echo $TCPTRACE_PID; } > ");
        command.push(path);
        command
    }

    #[test]
    fn a_command_gets_the_record_and_its_variables() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leak");
        assert_eq!(counts(&ran(into(&path), Duration::from_mins(1))), [1, 0, 0, 0]);
        let text = fs::read_to_string(&path).unwrap();
        let (record, pid) = text.trim_end().rsplit_once('\n').unwrap();
        let expected = Record::Leak(Box::new(examples::leak()));
        assert_eq!((record, pid), (&*serde_json::to_string(&expected).unwrap(), "71"));
    }

    #[test]
    fn failures_and_commands_that_take_too_long_are_counted() {
        assert_eq!(counts(&ran("exit 3".into(), Duration::from_mins(1))), [1, 1, 0, 0]);
        assert_eq!(counts(&ran("sleep 600".into(), Duration::from_millis(200))), [1, 0, 1, 0]);
    }
}
