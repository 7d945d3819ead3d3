//! Requests from outside a session: end (a signal, or the duration is over) or begin new files (SIGHUP). Ends
//! and reopens nothing itself.

use std::{
    fs::{File, read_to_string},
    io,
    path::Path,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until, timeout},
};

use crate::host::world::World;

/// What is asked of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalRequest {
    End,
    /// To begin new files where the present ones were moved away.
    Reopen,
}

/// Waits for requests.
pub(crate) struct Signals {
    source: Source,
    deadline: Option<Instant>,
}

enum Source {
    Kernel(Handlers),
    #[cfg(test)]
    Scripted(tokio::sync::mpsc::Receiver<SignalRequest>),
}

/// From now on these signals no longer end the process.
struct Handlers {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    on_hangup: Hangup,
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

impl Hangup {
    fn meaning(is_ignored: bool, has_files: bool, has_terminal: bool) -> Self {
        match (is_ignored, has_files) {
            (false, false) => Self::End,
            (false, true) if has_terminal => Self::FilesOrTerminal,
            (true, _) | (false, true) => Self::Files,
        }
    }

    fn request(self, has_terminal: bool) -> SignalRequest {
        match self {
            Self::Files => SignalRequest::Reopen,
            Self::FilesOrTerminal if has_terminal => SignalRequest::Reopen,
            Self::FilesOrTerminal | Self::End => SignalRequest::End,
        }
    }
}

impl Signals {
    /// Handles signals from now on.
    ///
    /// # Errors
    /// When the signals cannot be handled.
    pub(crate) fn listen(world: &World, has_files: bool) -> io::Result<Self> {
        let on_hangup = Hangup::meaning(is_hangup_ignored(&world.proc), has_files, has_terminal());
        let handlers = Handlers {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            on_hangup,
        };
        Ok(Self { source: Source::Kernel(handlers), deadline: None })
    }

    /// Asks for the end after this time as well, counted from now on; `None` is no limit.
    pub(crate) fn end_after(&mut self, duration: Option<Duration>) {
        // A time beyond what the clock can hold is no limit.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Waits for the next request. Cancel safe.
    pub(crate) async fn next(&mut self) -> SignalRequest {
        let deadline = self.deadline;
        let time_is_up = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            request = self.source.next() => request,
            () = time_is_up => SignalRequest::End,
        }
    }

    /// Waits for the next signal that asks for the end, whatever the time.
    pub(crate) async fn end_requested(&mut self) {
        match &mut self.source {
            Source::Kernel(handlers) => tokio::select! {
                _ = handlers.interrupt.recv() => {}
                _ = handlers.terminate.recv() => {}
            },
            #[cfg(test)]
            source => while source.next().await != SignalRequest::End {},
        }
    }

    /// Whether something has been asked for already.
    pub(crate) async fn have_come(&mut self) -> bool {
        timeout(Duration::ZERO, self.next()).await.is_ok()
    }
}

impl Source {
    async fn next(&mut self) -> SignalRequest {
        match self {
            Self::Kernel(Handlers { interrupt, terminate, hangup, on_hangup }) => tokio::select! {
                _ = interrupt.recv() => SignalRequest::End,
                _ = terminate.recv() => SignalRequest::End,
                _ = hangup.recv() => on_hangup.request(has_terminal()),
            },
            #[cfg(test)]
            Self::Scripted(requests) => match requests.recv().await {
                Some(request) => request,
                None => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
impl Signals {
    /// Signals that a test sends.
    pub(crate) fn scripted() -> (tokio::sync::mpsc::Sender<SignalRequest>, Self) {
        let (sender, requests) = tokio::sync::mpsc::channel(8);
        (sender, Self { source: Source::Scripted(requests), deadline: None })
    }
}

/// Whether this process has a controlling terminal: one that has gone cannot be opened any more.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether whoever started this process wants SIGHUP (number 1) to be ignored: proc_pid_status(5), `SigIgn`.
fn is_hangup_ignored(proc: &Path) -> bool {
    let status = read_to_string(proc.join("self/status")).unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_about_files_unless_the_terminal_has_gone_or_there_are_none() {
        let request = |is_ignored, has_files, had_terminal, has_terminal| {
            Hangup::meaning(is_ignored, has_files, had_terminal).request(has_terminal)
        };
        assert_eq!(request(false, true, true, true), SignalRequest::Reopen);
        assert_eq!(request(false, true, true, false), SignalRequest::End);
        assert_eq!(
            request(false, true, false, false),
            SignalRequest::Reopen,
            "a daemon has no terminal to lose"
        );
        assert_eq!(request(false, false, true, true), SignalRequest::End);
        assert_eq!(request(true, false, true, false), SignalRequest::Reopen, "nohup");
    }

    #[tokio::test]
    async fn the_end_of_the_duration_is_a_request_and_no_signal() {
        let (sender, mut signals) = Signals::scripted();
        assert!(!signals.have_come().await);
        signals.end_after(Some(Duration::ZERO));
        assert_eq!(signals.next().await, SignalRequest::End);
        assert!(signals.have_come().await);
        assert!(timeout(Duration::from_millis(1), signals.end_requested()).await.is_err());
        let sent = sender.send(SignalRequest::End).await;
        assert!(sent.is_ok() && timeout(Duration::from_mins(1), signals.end_requested()).await.is_ok());
    }

    #[test]
    fn an_ignored_hangup_is_found_in_the_mask() -> io::Result<()> {
        let proc = tempfile::tempdir()?;
        std::fs::create_dir(proc.path().join("self"))?;
        for (mask, is_ignored) in [("0000000000000001", true), ("0000000000001002", false), ("", false)] {
            std::fs::write(proc.path().join("self/status"), format!("Name:\tx\nSigIgn:\t{mask}\n"))?;
            assert_eq!(is_hangup_ignored(proc.path()), is_ignored, "{mask}");
        }
        Ok(())
    }
}
