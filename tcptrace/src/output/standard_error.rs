//! Standard error, which one thread of its own writes: messages in their order, and the status line of a terminal.
//! Whoever has something to say leaves it here and goes on: a terminal that takes nothing (Ctrl-S, a hung ssh) holds up
//! nobody. Words nothing itself.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _, stderr},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::tcgetwinsize,
    thread::CapabilitySet,
};

use super::{screen, terminal};
use crate::{
    host::{
        rights::{self, Rights},
        system_calls::{self, Uses},
        user,
    },
    model::units::plural,
};

/// Bytes of messages that may wait; what finds no room is counted.
const MAX_BYTES: usize = 64 << 10;

/// How often the status line is drawn again at most.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How long the last messages are waited for while nothing is taken, and altogether.
const STUCK_TIMEOUT: Duration = Duration::from_secs(2);
const LAST_TIMEOUT: Duration = Duration::from_secs(10);

/// The one of this process.
pub(crate) static STANDARD_ERROR: StandardError = StandardError {
    waiting: Mutex::new(Waiting {
        messages: VecDeque::new(),
        bytes: 0,
        not_shown: 0,
        status: None,
        line: None,
        drawn_at: None,
        taken: 0,
        is_busy: false,
        has_thread: false,
        has_rights: false,
    }),
    begun: Condvar::new(),
    work: Condvar::new(),
    idle: Condvar::new(),
};

/// What waits for the thread that writes.
pub(crate) struct StandardError {
    waiting: Mutex<Waiting>,
    /// For whoever waits until the thread has given up its rights.
    begun: Condvar,
    /// For the thread: there is something to write.
    work: Condvar,
    /// For whoever waits until all is written.
    idle: Condvar,
}

struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Messages that found no room.
    not_shown: u64,
    /// The status line that is wanted; the latest alone counts.
    status: Option<StatusRequest>,
    /// What the status line says at present, and when it was drawn last.
    line: Option<String>,
    drawn_at: Option<Instant>,
    /// What was written so far.
    taken: u64,
    is_busy: bool,
    has_thread: bool,
    /// The thread has not given up its rights yet.
    has_rights: bool,
}

enum StatusRequest {
    Show(String),
    Clear,
}

enum Job {
    Message(Vec<u8>),
    Status(StatusRequest),
}

impl Waiting {
    fn next(&mut self) -> Option<Job> {
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= message.len();
            return Some(Job::Message(message));
        }
        if self.not_shown > 0 {
            let count = plural(std::mem::take(&mut self.not_shown), "message");
            return Some(Job::Message(
                format!("tcptrace: warn: {count} found standard error full\n").into_bytes(),
            ));
        }
        self.status.take().map(Job::Status)
    }

    fn is_idle(&self) -> bool {
        !self.is_busy && self.messages.is_empty() && self.status.is_none()
    }
}

impl StandardError {
    /// Starts the thread. Without one, what is said is written at once.
    pub(crate) fn start(&'static self) {
        let run = || {
            // It is there before the session gives up rights, and needs none. Capabilities that are left, the session finds when
            // it looks at every thread.
            let _ = user::leave_root(&[]);
            let none = Rights { capabilities: CapabilitySet::empty(), for_children: false, root: false };
            let _ = rights::keep(none);
            let _ = system_calls::keep(Uses { executes: false, loads: false });
            self.lock().has_rights = false;
            self.begun.notify_all();
            self.run();
        };
        // Locked until it is known whether there is a thread.
        let mut waiting = self.lock();
        let started = thread::Builder::new().name("stderr".to_owned()).stack_size(128 << 10).spawn(run);
        waiting.has_thread = started.is_ok();
        waiting.has_rights = started.is_ok();
    }

    /// Waits until the thread has given up its rights: while it does, there is something else to do.
    pub(crate) fn await_start(&self) {
        let waiting = self.lock();
        // An error is that of a thread that panicked, with nothing left half done.
        drop(self.begun.wait_while(waiting, |waiting| waiting.has_rights));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whoever panics with the lock held has not left anything half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message: whole lines.
    pub(crate) fn say(&self, message: &[u8]) {
        let mut waiting = self.lock();
        if !waiting.has_thread {
            drop(waiting);
            perform(Job::Message(message.to_vec()));
        } else if waiting.bytes + message.len() > MAX_BYTES {
            waiting.not_shown += 1;
        } else {
            waiting.bytes += message.len();
            waiting.messages.push_back(message.to_vec());
            self.work.notify_one();
        }
    }

    /// Has the status line replaced by another, or taken away. One that was not shown yet gives way.
    pub(crate) fn set_status(&self, text: Option<String>) {
        let mut waiting = self.lock();
        if waiting.has_thread {
            waiting.line.clone_from(&text);
            waiting.status = Some(text.map_or(StatusRequest::Clear, StatusRequest::Show));
            self.work.notify_one();
        }
    }

    /// Has the status line drawn again, after somebody else wrote to the terminal; not each time where that goes on and on.
    pub(crate) fn draw_again(&self) {
        let mut waiting = self.lock();
        let is_recent = |at: Instant| at.elapsed() < DRAW_INTERVAL;
        if waiting.status.is_none()
            && !waiting.drawn_at.is_some_and(is_recent)
            && let Some(text) = waiting.line.clone()
        {
            waiting.drawn_at = Some(Instant::now());
            waiting.status = Some(StatusRequest::Show(text));
            self.work.notify_one();
        }
    }

    /// Waits until everything was written, as long as something is taken.
    pub(crate) fn catch_up(&self) {
        let until = Instant::now() + LAST_TIMEOUT;
        let mut waiting = self.lock();
        while waiting.has_thread && !waiting.is_idle() && Instant::now() < until {
            let before = waiting.taken;
            waiting =
                self.idle.wait_timeout(waiting, STUCK_TIMEOUT).unwrap_or_else(PoisonError::into_inner).0;
            if waiting.taken == before {
                return;
            }
        }
    }

    fn run(&self) {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.next() {
                waiting.is_busy = true;
                drop(waiting);
                perform(job);
                waiting = self.lock();
                waiting.is_busy = false;
                waiting.taken += 1;
                self.idle.notify_all();
            } else {
                waiting = self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// What cannot be written to standard error cannot be reported anywhere.
fn perform(job: Job) {
    let mut line = screen::lock_for_message();
    // A terminal that takes nothing at present keeps the line that it has.
    if matches!(job, Job::Status(StatusRequest::Show(_))) && !is_taken() {
        return;
    }
    let mut bytes = line.take_away().to_vec();
    match job {
        Job::Message(message) => bytes.extend(message),
        Job::Status(StatusRequest::Clear) => {}
        Job::Status(StatusRequest::Show(text)) => {
            bytes.extend(text.as_bytes());
            line.is_shown = true;
        }
    }
    let _nobody_to_tell = stderr().write_all(&terminal::displayable_on(&stderr(), &bytes));
}

fn is_taken() -> bool {
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    let stderr = stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    poll(&mut fds, Some(&none)).is_ok_and(|count| count > 0)
}

/// Characters of a line of the terminal, where standard error is one; 80 where it does not tell.
pub(crate) fn width() -> usize {
    tcgetwinsize(stderr()).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(80)
}

/// Whether a line can be taken away again: on a terminal that knows how.
pub(crate) fn can_take_lines_away() -> bool {
    let is_known = |term: std::ffi::OsString| !term.is_empty() && term != "dumb";
    stderr().is_terminal() && std::env::var_os("TERM").is_some_and(is_known)
}

/// Messages that are written here, for the log.
pub(crate) struct Messages;

impl io::Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        STANDARD_ERROR.say(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
