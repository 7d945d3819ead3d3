//! What ends a session: a signal, or the time that was asked for.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

/// Waits for the end of a session.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
}

impl Stop {
    /// Begins to listen for SIGINT and SIGTERM, and for the end of `duration`.
    ///
    /// # Errors
    /// When the signals cannot be waited for.
    pub fn after(duration: Option<Duration>) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            // A time beyond what the clock can hold is no limit.
            deadline: duration.and_then(|duration| Instant::now().checked_add(duration)),
        })
    }

    /// Returns when the session is to end. May be dropped and called again.
    pub async fn wait(&mut self) {
        let deadline = self.deadline;
        let timeout = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = timeout => {}
        }
    }
}
