//! `tcptrace trace`: every state transition, as it happens.

use std::time::Duration;

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

/// How long the records that are still in the ring at the end are taken out, while new ones keep coming.
const LAST_LOOK_NS: u64 = 1_000_000_000;

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
    sink.write(&Record::Header(Box::new(header(pump.backend(), clock.at(started_ns)))))?;
    loop {
        let more = write_batch(options, &mut pump, &mut sink, clock, &mut status)?;
        if more {
            // Signals and timers get their turn even when records never stop coming.
            tokio::task::yield_now().await;
        }
        tokio::select! {
            biased;
            () = stop.wait() => break,
            _ = ticks.tick() => {
                looks += 1;
                if looks % LOOKS_A_SECOND == 0 {
                    clock = WallClock::now();
                    let totals = pump.totals();
                    status.show(|| format!(
                        "tracing for {}: {}, {} lost",
                        Elapsed(monotonic_ns().saturating_sub(started_ns)),
                        plural(totals.records, "record"),
                        totals.lost,
                    ));
                }
            }
            ready = pump.readable(), if !more => ready.map_err(system("wait for the ring buffer"))?,
            () = std::future::ready(()), if more => {}
        }
    }
    let ended_ns = monotonic_ns();
    while write_batch(options, &mut pump, &mut sink, clock, &mut status)?
        && monotonic_ns() < ended_ns + LAST_LOOK_NS
    {}
    status.clear();
    sink.write(&Record::Summary(Box::new(Summary {
        time: clock.at(ended_ns),
        duration_ns: ended_ns.saturating_sub(started_ns),
        totals: pump.totals(),
        in_close_wait: None,
        processes: Vec::new(),
    })))?;
    Ok(sink.flush()?)
}

/// Writes what has come; returns whether there may be more.
fn write_batch(
    options: &TraceOptions,
    pump: &mut Pump,
    sink: &mut Sink,
    clock: WallClock,
    status: &mut StatusLine,
) -> Result<bool, WriteError> {
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
}
