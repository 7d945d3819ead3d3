//! The one event loop: what a running session waits for, and in which order. Handles no event itself.

use std::{future::pending, io, time::Duration};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    error::CommandError,
    signals::{SignalRequest, Signals},
};
use crate::inspect::thread::{Answer, InspectorGone};

/// Why a session wakes up.
#[derive(Debug)]
pub(crate) enum Event {
    /// There may be records to take.
    Records,
    /// The inspector has finished its job.
    Answer(Answer),
    /// The interval has passed.
    Tick,
    /// A signal came, or the time is up.
    Signal(SignalRequest),
}

/// Waits for events. Signals, answers and ticks come before records, which may never stop coming.
pub(crate) struct EventLoop {
    signals: Signals,
    ticks: Interval,
}

impl EventLoop {
    /// Ticks at once, and then at this interval.
    pub(crate) fn new(signals: Signals, tick_interval: Duration) -> Self {
        let mut ticks = interval(tick_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { signals, ticks }
    }

    /// Waits for the next event of a session that takes records as soon as they are `readable`, and asks the
    /// inspector. With more records at hand it does not wait, and only lets everything else take its turn.
    ///
    /// # Errors
    /// When the records cannot be waited for, or the inspector is gone.
    pub(crate) async fn next(
        &mut self,
        has_more: bool,
        readable: impl Future<Output = io::Result<()>>,
        answer: impl Future<Output = Result<Answer, InspectorGone>>,
    ) -> Result<Event, CommandError> {
        if has_more {
            // Lets the runtime look at signals and timers.
            tokio::task::yield_now().await;
        }
        tokio::select! {
            biased;
            request = self.signals.next() => Ok(Event::Signal(request)),
            answer = answer => Ok(Event::Answer(answer?)),
            _ = self.ticks.tick() => Ok(Event::Tick),
            ready = readable, if !has_more => match ready {
                Ok(()) => Ok(Event::Records),
                Err(source) => Err(CommandError::System { what: "wait for the ring buffer", source }),
            },
            () = std::future::ready(()), if has_more => Ok(Event::Records),
        }
    }

    /// As [`EventLoop::next`], for a session that looks for records at each tick and has no inspector.
    ///
    /// # Errors
    /// None of its own.
    pub(crate) async fn next_tick(&mut self, has_more: bool) -> Result<Event, CommandError> {
        self.next(has_more, pending(), pending()).await
    }

    /// Waits for a signal that asks for the end.
    pub(crate) async fn end_requested(&mut self) {
        self.signals.end_requested().await;
    }
}
