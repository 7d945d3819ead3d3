//! A live session of `leaks` or `trace`: takes transitions from the kernel side, and writes transitions,
//! leaks, or both.

use std::{
    future::pending,
    io::{self, IsTerminal as _},
    time::Duration,
};

use super::{
    error::{CommandError, Conclusion},
    event_loop::{Event, EventLoop},
    exec::{Exec, ExecOptions},
    interface_names::InterfaceNames,
    records::session_header,
    rights::{Needs, Owner, Sandbox, limit},
    signals::{SignalRequest, Signals},
    status::StatusLine,
    transition_stream::{TransitionStream, Transitions, read_to_end},
    watch::{Watch, WatchOptions, start_inspector},
};
use crate::{
    forms::{palette::Palette, text},
    host::{clock::WallClock, world::World},
    inspect::{
        tables::Tables,
        thread::{Answer, InspectorGone, InspectorThread},
    },
    kernel::{Support, TracerOptions},
    model::{
        coverage::Extent,
        record::{Record, Summary, Timed, Totals},
        units::{Elapsed, in_nanoseconds, plural},
    },
    output::{
        error::WriteError,
        options::{OutputOptions, Policy},
        outputs::{OpenedOutputs, Output},
        standard_error::STANDARD_ERROR,
        terminal,
    },
};

/// How long a record may lie unseen (the kernel side wakes us for the first after a quiet time only), and
/// how much later than due a socket is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks between two updates of the status line and of the clocks' relation: a second.
const LOOKS_A_SECOND: u32 = 10;

/// Looks between two for sockets that have come into CLOSE_WAIT and stay.
const LOOKS_FOR_ARRIVALS: u32 = 2;

/// Looks between two searches for descriptors whose connections are over: ten seconds.
const LOOKS_A_RECHECK: u32 = 100;

/// Whoever ends the session with Ctrl-C ends the reader in the pipe too, at about the same time.
const SAME_SIGNAL_TIMEOUT: Duration = Duration::from_millis(200);

/// What to look for and where to write it.
#[derive(Clone, Debug)]
pub(crate) struct LiveOptions {
    /// What the kernel side does. Its criteria hold for the whole session.
    pub tracer: TracerOptions,
    /// Whether each transition is a record of the session.
    pub transitions: bool,
    /// Which sockets in CLOSE_WAIT are followed, and their owners found; `None` follows none.
    pub watch: Option<WatchOptions>,
    /// The command that is run for each leak.
    pub exec: Option<ExecOptions>,
    /// Whether a leak decides about the exit code.
    pub exit_code: bool,
    /// Ends by itself after this time.
    pub duration: Option<Duration>,
    /// Where the records go, and in which form.
    pub outputs: OutputOptions,
}

impl LiveOptions {
    /// What the session goes on needing when everything is attached.
    fn needs(&self, files: bool) -> Needs {
        Needs {
            programs: true,
            // Without owners, for the names of interfaces.
            looks: true,
            lines: self.watch.is_some(),
            loads: false,
            ends_sockets: false,
            commands: self.exec.is_some(),
            files,
        }
    }
}

/// Runs until it is stopped.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub(crate) async fn run(
    options: &LiveOptions,
    sandbox: Sandbox,
    world: &World,
) -> Result<Conclusion, CommandError> {
    begin(options, sandbox, world)?.run().await
}

/// Attaches, gives up the rights that are not needed any more, and only then starts threads.
fn begin<'a>(
    options: &'a LiveOptions,
    sandbox: Sandbox,
    world: &'a World,
) -> Result<Session<'a, TransitionStream>, CommandError> {
    let mut support = Support::read(world);
    support.require()?;
    let outputs = OpenedOutputs::open(&options.outputs)?;
    let mut signals = Signals::listen(world, outputs.has_files())
        .map_err(|source| CommandError::System { what: "wait for signals", source })?;
    let mut transitions = TransitionStream::start(&mut support, &options.tracer, &world.clocks)?;
    // The kernel takes a second and more to make a large ring: the session begins when it is attached.
    let started_ns = world.clocks.monotonic_ns();
    signals.end_after(options.duration);
    let threshold = options.tracer.criteria.older_than;
    let calls = transitions.take_calls();
    let mut tables = options.watch.as_ref().map(|_| Tables::new(support, None, world)).transpose()?;
    if let Some(tables) = tables.as_mut().filter(|_| sandbox != Sandbox::Off) {
        // Before the right to load programs goes.
        tables.load();
    }
    let access = options.outputs.file_access();
    let looks_into_processes = options.watch.is_some() || options.exec.is_some();
    let owner = if looks_into_processes { Owner::Same } else { Owner::Other(&access) };
    let rights = limit(sandbox, options.needs(outputs.has_files()), owner)?;
    let inspector = tables.map(|tables| start_inspector(world, tables, threshold, calls)).transpose()?;
    let sources = Sources { transitions, inspector, signals };
    let mut session = Session::start(options, world, started_ns, sources, outputs)?;
    if options.transitions {
        session.interfaces.begin();
    }
    rights.verify(&world.proc)?;
    Ok(session)
}

/// Where everything comes from that a session takes.
struct Sources<T> {
    transitions: T,
    /// `None` when no sockets are followed.
    inspector: Option<InspectorThread>,
    signals: Signals,
}

/// Waits for the inspector's answer; for ever when no sockets are followed.
async fn answer(watch: &mut Option<Watch<'_>>) -> Result<Answer, InspectorGone> {
    match watch {
        Some(watch) => watch.answer().await,
        None => pending().await,
    }
}

struct Session<'a, T> {
    options: &'a LiveOptions,
    world: &'a World,
    transitions: T,
    events: EventLoop,
    output: Output,
    clock: WallClock,
    watch: Option<Watch<'a>>,
    interfaces: InterfaceNames,
    exec: Option<Exec>,
    status: StatusLine,
    started_ns: u64,
    /// When the latest transition was that was taken.
    latest_ns: u64,
    /// Sockets in CLOSE_WAIT that nothing is told of yet: they have come a moment ago.
    arrivals: usize,
}

impl<'a, T: Transitions> Session<'a, T> {
    /// Begins, and writes the header.
    fn start(
        options: &'a LiveOptions,
        world: &'a World,
        started_ns: u64,
        sources: Sources<T>,
        outputs: OpenedOutputs,
    ) -> Result<Self, CommandError> {
        let system = |source| CommandError::System { what: "start a thread", source };
        let Sources { transitions, inspector, signals } = sources;
        let watch = options.watch.as_ref().zip(inspector).map(|(watch, inspector)| {
            Watch::start(watch, &options.tracer.criteria, transitions.identity(), inspector)
        });
        let exec = options.exec.clone().map(Exec::start).transpose().map_err(system)?;
        let clock = world.clocks.wall();
        let header = session_header(world, transitions.backend(), clock.at(started_ns));
        let output = outputs.start(&header, Policy::Drop)?;
        let events = EventLoop::new(signals, LOOK_INTERVAL);
        let status = StatusLine::new(options.outputs.are_piped());
        let interfaces = InterfaceNames::new(world);
        Ok(Self {
            options,
            world,
            transitions,
            events,
            output,
            clock,
            watch,
            interfaces,
            exec,
            status,
            started_ns,
            latest_ns: 0,
            arrivals: 0,
        })
    }

    async fn run(mut self) -> Result<Conclusion, CommandError> {
        let mut looks = 0;
        loop {
            let more = match self.take_records() {
                Err(WriteError::ReaderGone) if self.is_ending().await => return self.finish().await,
                taken => taken?,
            };
            let Self { events, transitions, watch, .. } = &mut self;
            match events.next(more, transitions.readable(), answer(watch)).await? {
                Event::Records => {}
                Event::Answer(answer) => self.take_answer(answer),
                Event::Tick => {
                    looks += 1;
                    self.look(looks);
                }
                Event::Signal(SignalRequest::Reopen) => self.output.reopen()?,
                Event::Signal(SignalRequest::End) => return self.finish().await,
            }
        }
    }

    /// Whether the end is requested at about this time.
    async fn is_ending(&mut self) -> bool {
        tokio::time::timeout(SAME_SIGNAL_TIMEOUT, self.events.end_requested()).await.is_ok()
    }

    /// Takes the records that have come; returns whether there may be more.
    fn take_records(&mut self) -> Result<bool, WriteError> {
        let Self { options, transitions, output, clock, watch, interfaces, latest_ns, .. } = self;
        let more = transitions.take(|transition| {
            *latest_ns = transition.ktime_ns.max(*latest_ns);
            // The kernel side has applied the rest.
            if !options.tracer.criteria.admits_netns(transition.socket.netns) {
                return;
            }
            interfaces.want(&transition.socket);
            let end = watch.as_mut().and_then(|watch| watch.observe(&transition, *clock));
            // The end of a connection may be told for the watch alone.
            let states = options.tracer.criteria.states;
            let is_asked_for = states.contains(transition.old_state) || states.contains(transition.new_state);
            if options.transitions && is_asked_for {
                let time = clock.at(transition.ktime_ns);
                output.write(&Record::Transition(Timed { time, what: transition }));
            }
            if let Some(end) = end {
                output.write(&Record::LeakEnd(Box::new(end)));
            }
        });
        output.flush(|| transitions.totals())?;
        Ok(more)
    }

    /// As [`Session::take_records`], at the end: that the last reader has gone does not keep the terminal from its summary.
    fn take_last_records(&mut self) -> Result<bool, WriteError> {
        match self.take_records() {
            Err(WriteError::ReaderGone) => Ok(true),
            taken => taken,
        }
    }

    /// Takes the sockets that came into CLOSE_WAIT before this time (CLOCK_MONOTONIC, nanoseconds), and are still there.
    fn take_arrivals(&mut self, before_ns: u64) {
        let Self { options, transitions, clock, watch, interfaces, arrivals, .. } = self;
        let Some(watch) = watch else { return };
        *arrivals = transitions.take_arrivals(before_ns, |transition| {
            if options.tracer.criteria.admits_netns(transition.socket.netns) {
                interfaces.want(&transition.socket);
                watch.observe(&transition, *clock);
            }
        });
    }

    /// Writes records that [`Session::take_records`] will pass on.
    fn write_all(&mut self, records: &[Record]) {
        for record in records {
            self.output.write(record);
            if let (Record::Leak(leak), Some(exec)) = (record, &self.exec) {
                exec.offer(leak);
            }
        }
    }

    fn take_answer(&mut self, answer: Answer) {
        if matches!(answer, Answer::Preexisting(..)) {
            // What left meanwhile had to be told of: it may be among those that were there first.
            self.transitions.keep_arrivals(true);
        }
        let (clock, now_ns) = (self.clock, self.world.clocks.monotonic_ns());
        let records =
            self.watch.as_mut().map(|watch| watch.take_answer(answer, clock, now_ns)).unwrap_or_default();
        self.write_all(&records);
    }

    /// What is done at regular intervals.
    fn look(&mut self, looks: u32) {
        if looks.is_multiple_of(LOOKS_FOR_ARRIVALS) {
            let told_after = in_nanoseconds(self.options.tracer.told_after);
            self.take_arrivals(self.world.clocks.monotonic_ns().saturating_sub(told_after));
        }
        if let Some(watch) = &mut self.watch {
            watch.look(self.world.clocks.monotonic_ns());
            if looks.is_multiple_of(LOOKS_A_SECOND) {
                watch.sample(self.world.clocks.monotonic_ns());
            }
            if looks.is_multiple_of(LOOKS_A_RECHECK) {
                watch.begin_recheck();
            }
        }
        if looks.is_multiple_of(LOOKS_A_SECOND) {
            self.clock = self.world.clocks.wall();
            self.show_status();
        }
    }

    /// The counters are read whether or not anybody sees them: the kernel side's rare warnings come along.
    fn show_status(&mut self) {
        let Self { world, transitions, output, watch, status, started_ns, arrivals, .. } = self;
        let totals = transitions.totals();
        let dropped = output.dropped();
        status.show(|| {
            let lost = format!("{} lost", totals.lost);
            let elapsed = Elapsed(world.clocks.monotonic_ns().saturating_sub(*started_ns)).to_string();
            let dropped = if dropped > 0 { format!("{dropped} dropped") } else { String::new() };
            let first = match watch {
                Some(watch) => watch.status(*arrivals),
                None => vec![plural(totals.records, "transition")],
            };
            // A loss comes before what is merely good to know.
            let (urgent, calm) = if totals.lost > 0 { (lost, String::new()) } else { (String::new(), lost) };
            let mut parts = first;
            let at = parts.len().min(3);
            parts.splice(at..at, [urgent, dropped]);
            parts.extend([calm, elapsed]);
            parts
        });
    }

    /// Takes what is left, and sums up.
    async fn finish(mut self) -> Result<Conclusion, CommandError> {
        let world = self.world;
        let ended_ns = world.clocks.monotonic_ns();
        // Whatever leaves from now on is told of, so that all can be.
        self.transitions.keep_arrivals(false);
        self.take_arrivals(u64::MAX);
        let was_read = read_to_end::<WriteError>(&world.clocks, ended_ns, || {
            Ok((self.take_last_records()?, self.latest_ns))
        })?;
        let clock = self.clock;
        if let Some(watch) = &mut self.watch {
            let records = watch.finish_looking(clock, ended_ns).await?;
            self.write_all(&records);
            // What ended while the last sockets were looked at.
            self.take_last_records()?;
        }
        let mut summary = Summary {
            time: clock.at(ended_ns),
            duration_ns: ended_ns.saturating_sub(self.started_ns),
            totals: self.transitions.totals(),
            in_close_wait: None,
            processes: Vec::new(),
            more_processes: 0,
            connections_over: None,
            sockets: None,
            still_stuck: None,
            not_looked_at: None,
        };
        let (found, extent) = match &mut self.watch {
            Some(watch) => watch.sum_up(&mut summary, ended_ns).await?,
            None => (false, Extent::Everything),
        };
        self.status.clear();
        warn_of_losses(&summary.totals);
        let mut outputs = self.output.finish(Some(&summary))?;
        outputs.wait(self.events.end_requested()).await?;
        if outputs.have_lost_reader() {
            show_on_terminal(&summary);
        }
        if let Some(exec) = self.exec.take() {
            exec.finish();
        }
        let is_whole = was_read && !summary.totals.is_lossy();
        let extent = match extent {
            Extent::Everything if !is_whole => Extent::Part,
            extent => extent,
        };
        Ok(Conclusion::of_search(found, self.options.exit_code, extent))
    }
}

/// Says what was lost, by cause, each with what helps.
fn warn_of_losses(totals: &Totals) {
    let in_ring = totals.lost_in_ring();
    if in_ring > 0 {
        let count = plural(in_ring, "record");
        log::warn!(
            "{count} lost because the ring was full: --ring-size makes it larger, filters make it last"
        );
    }
    if totals.lost_skipped > 0 {
        log::info!(
            "{} left out by the kernel, whose CPUs were interrupted at work on another: no option changes that",
            plural(totals.lost_skipped, "transition")
        );
    }
}

/// Whoever read standard output has gone before the end (`| tee`, and Ctrl-C for both): the terminal has the summary then.
fn show_on_terminal(summary: &Summary) {
    if io::stderr().is_terminal() {
        let extent = terminal::extent(io::stderr(), 0);
        let mut text = Vec::new();
        // Writing into memory does not fail.
        drop(text::summary::write(&mut text, summary, extent, &Palette::default()));
        let text = String::from_utf8_lossy(&text);
        let text = extent.width.map_or(text.to_string(), |width| text::fold::folded(&text, width));
        STANDARD_ERROR.say(text.as_bytes());
    }
}

#[cfg(test)]
mod tests;
