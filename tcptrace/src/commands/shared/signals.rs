//! What a session is told from outside: to end, by a signal or because its time is up, or to begin new
//! files (SIGHUP).

use std::{
    fs::{File, read_to_string},
    io,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

/// What a session is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To end.
    End,
    /// To begin new files where the present ones were moved away.
    Reopen,
}

/// Waits for what a session is told.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    on_hangup: Hangup,
    deadline: Option<Instant>,
}

/// What SIGHUP means: it is also what a program gets when its terminal goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangup {
    /// It was to be ignored (nohup): it is always about files.
    Files,
    /// It is about files, unless the terminal has gone.
    FilesOrTerminal,
    /// There are no files.
    End,
}

impl Stop {
    /// Begins to listen for signals, and for the end of `duration`.
    ///
    /// # Errors
    /// When the signals cannot be waited for.
    pub(crate) fn after(duration: Option<Duration>, has_files: bool) -> io::Result<Self> {
        let on_hangup = match (is_hangup_ignored(), has_files) {
            (true, _) => Hangup::Files,
            (false, false) => Hangup::End,
            (false, true) if has_terminal() => Hangup::FilesOrTerminal,
            (false, true) => Hangup::Files,
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            on_hangup,
            // A time beyond what the clock can hold is no limit.
            deadline: duration.and_then(|duration| Instant::now().checked_add(duration)),
        })
    }

    /// Returns when the session is told something. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> Wish {
        let deadline = self.deadline;
        let timeout = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Wish::End,
            _ = self.terminate.recv() => Wish::End,
            _ = self.hangup.recv() => match self.on_hangup {
                Hangup::Files => Wish::Reopen,
                Hangup::FilesOrTerminal if has_terminal() => Wish::Reopen,
                Hangup::FilesOrTerminal | Hangup::End => Wish::End,
            },
            () = timeout => Wish::End,
        }
    }

    /// Returns at the next signal that asks for the end.
    pub(crate) async fn signal(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Whether this process has a terminal to be controlled from: one that has gone cannot be opened any more.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether whoever started this process wants SIGHUP (number 1) to be ignored: proc_pid_status(5), `SigIgn`.
fn is_hangup_ignored() -> bool {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
