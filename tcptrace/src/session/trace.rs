//! `tcptrace trace`: every state transition, as it happens.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use super::{SessionError, header, pump::Pump, status::StatusLine, stop::Stop};
use crate::{
    host::{
        clock::{WallClock, monotonic_ns},
        privilege,
    },
    kernel::TracerOptions,
    record::{Record, Summary, Timed},
    sink::{Destination, Format, Sink, WriteError},
    units::{Elapsed, plural},
};

/// How long a record may lie unseen: the kernel side wakes us for the first after a quiet time only.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks between two updates of the status line and of the clocks' relation: a second.
const LOOKS_A_SECOND: u32 = 10;

/// What to trace and where to write it.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// What the kernel side does.
    pub tracer: TracerOptions,
    /// Namespaces (inode numbers) that are wanted; none = all.
    pub netns: Vec<u32>,
    /// Ends by itself after this time.
    pub duration: Option<Duration>,
    /// Where the records go.
    pub destination: Destination,
    /// Their form.
    pub format: Format,
}

/// Runs until it is stopped.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub async fn run(options: &TraceOptions) -> Result<(), SessionError> {
    privilege::check()?;
    let mut sink = Sink::open(&options.destination, options.format)?;
    let system = |what| move |source| SessionError::System { what, source };
    let mut stop = Stop::after(options.duration).map_err(system("wait for signals"))?;
    let started_ns = monotonic_ns();
    let mut clock = WallClock::now();
    let mut pump = Pump::start(&options.tracer)?;
    let mut status = StatusLine::new();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0;

    let mut write_all = |pump: &mut Pump, clock: WallClock, status: &mut StatusLine| -> Result<bool, WriteError> {
        let mut result = Ok(());
        let more = pump.take(|transition| {
            let is_wanted = options.netns.is_empty()
                || transition.socket.netns.is_some_and(|netns| options.netns.contains(&netns));
            if is_wanted && result.is_ok() {
                status.clear();
                let time = clock.at(transition.ktime_ns);
                result = sink.write(&Record::Transition(Timed { time, what: *transition }));
            }
        });
        result?;
        sink.flush()?;
        Ok(more)
    };
    todo!()
}
