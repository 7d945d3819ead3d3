//! Looks at intervals, while the kernel side reports who closes.

use std::{convert::Infallible, future::pending, time::Duration};

use super::{
    assemble::Rates,
    closers::Closers,
    closings::Closings,
    session::{LiveLooks, TimeWaitOptions, TimeWaitSession, summary},
};
use crate::{
    commands::shared::{
        error::{CommandError, Conclusion},
        event_loop::{Event, EventLoop},
        records::session_header,
        rights::{Needs, Owner, Sandbox, limit},
        signals::{SignalRequest, Signals},
        status::StatusLine,
        transition_stream::{TransitionStream, Transitions, read_to_end},
    },
    forms::view::{Page, View},
    host::world::World,
    kernel::Support,
    model::{
        record::{Totals, time_wait::TimeWaitLook},
        units::{Elapsed, in_nanoseconds, plural},
    },
    output::{options::Policy, outputs::OpenedOutputs},
};

/// How long a record may lie unseen: the kernel side wakes us for the first after a quiet time only.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);

/// Closings remembered: some 30 bytes each.
const MOST_CLOSINGS: usize = 1_000_000;

/// A pause lasts at least this many times as long as the look before it: looking takes a tenth of the time at most.
const PAUSE_PER_LOOK: u64 = 9;

/// Traces and looks until it is stopped.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub(crate) async fn run(
    options: &TimeWaitOptions,
    live: &LiveLooks,
    sandbox: Sandbox,
    world: &World,
) -> Result<Conclusion, CommandError> {
    let mut support = Support::read(world);
    support.require()?;
    let system = |what| move |source| CommandError::System { what, source };
    let outputs = OpenedOutputs::open(&options.outputs)?;
    let mut signals = Signals::listen(world, outputs.has_files()).map_err(system("wait for signals"))?;
    let transitions = TransitionStream::start(&mut support, &live.tracer, &world.clocks)?;
    // The kernel takes a second and more to make a large ring: the session begins when it is attached.
    let started_ns = world.clocks.monotonic_ns();
    signals.end_after(live.duration);
    let files = outputs.has_files();
    limit(sandbox, Needs { programs: true, looks: true, files, ..Needs::default() }, Owner::Same)?;
    let sources = Sources { transitions, signals };
    watch(options, live.interval, world, started_ns, sources, outputs).await
}

/// Where everything comes from that a session takes.
struct Sources<T> {
    transitions: T,
    signals: Signals,
}

async fn watch<T: Transitions>(
    options: &TimeWaitOptions,
    interval: Option<Duration>,
    world: &World,
    started_ns: u64,
    sources: Sources<T>,
    outputs: OpenedOutputs,
) -> Result<Conclusion, CommandError> {
    let Sources { mut transitions, signals } = sources;
    let clocks = &world.clocks;
    let mut output = outputs
        .start(&session_header(world, transitions.backend(), clocks.wall().at(started_ns)), Policy::Drop)?;
    let is_page = output.has_page();
    let pause = interval.unwrap_or(Duration::from_secs(if is_page { 2 } else { 10 }));
    let mut session = TimeWaitSession::new(options, world);
    let mut traced = Traced::new(options, world);
    let mut status = StatusLine::new(options.outputs.are_piped());
    let mut events = EventLoop::new(signals, DRAIN_INTERVAL);
    if !is_page {
        // Rates need something to be compared with.
        look(&mut session, &mut traced, world)?;
    }
    let mut next_look_ns =
        clocks.monotonic_ns().saturating_add(if is_page { 0 } else { in_nanoseconds(pause) });
    loop {
        let more = traced.take(&mut transitions);
        match events.next(more, transitions.readable(), pending()).await? {
            Event::Signal(SignalRequest::End) => break,
            Event::Signal(SignalRequest::Reopen) => output.reopen()?,
            Event::Records | Event::Answer(_) | Event::Tick => {}
        }
        let now_ns = clocks.monotonic_ns();
        if now_ns >= next_look_ns {
            let looked = look(&mut session, &mut traced, world)?;
            next_look_ns = now_ns
                .saturating_add(in_nanoseconds(pause).max(looked.duration_ns.saturating_mul(PAUSE_PER_LOOK)));
            output.show(
                View::TimeWaitLook { look: looked, summary: None, page: is_page.then_some(Page::Fitting) },
                options.rows,
            );
        } else if !is_page {
            status.show(|| traced.status(now_ns.saturating_sub(started_ns)));
        }
        output.flush(Totals::default)?;
    }
    let ended_ns = clocks.monotonic_ns();
    let Ok(was_read) =
        read_to_end::<Infallible>(clocks, ended_ns, || Ok((traced.take(&mut transitions), traced.latest_ns)));
    let last = look(&mut session, &mut traced, world)?;
    status.clear();
    let totals = totals(&last, &traced, &mut transitions);
    let not_looked_at = last.not_looked_at.clone();
    let page = is_page.then_some(Page::Whole);
    output.show(View::TimeWaitLook { look: last, summary: None, page }, options.rows);
    let lasted = started_ns..clocks.monotonic_ns();
    let summary = summary(totals, not_looked_at, session.crowded_out, lasted, clocks.wall());
    output.finish(Some(&summary))?.wait(events.end_requested()).await?;
    Ok(match session.conclusion() {
        Conclusion::Done if !was_read => Conclusion::Incomplete,
        conclusion => conclusion,
    })
}

fn look(
    session: &mut TimeWaitSession<'_>,
    traced: &mut Traced<'_>,
    world: &World,
) -> Result<TimeWaitLook, CommandError> {
    let (began_ns, clock) = (world.clocks.monotonic_ns(), world.clocks.wall());
    let look = session.look(Some(&traced.closings))?;
    let rates = Rates::of(&mut traced.closings, &look, began_ns);
    let holders = session.holders_of_many(&look);
    Ok(session.report(&look, rates, holders, Some(&traced.closers), began_ns, clock))
}

fn totals(last: &TimeWaitLook, traced: &Traced<'_>, transitions: &mut impl Transitions) -> Totals {
    let destinations = last.namespaces.iter().flat_map(|(_, destinations)| destinations);
    let unseen = destinations.filter_map(|destination| destination.closed_first_unseen).sum();
    let totals = transitions.totals();
    Totals { evicted: totals.evicted + traced.closings.evicted(), unattributed: unseen, ..totals }
}

/// What the kernel side reported.
struct Traced<'a> {
    options: &'a TimeWaitOptions,
    closings: Closings,
    closers: Closers,
    /// Connections that were closed here first.
    closed: u64,
    /// When the latest transition was.
    latest_ns: u64,
}

impl<'a> Traced<'a> {
    fn new(options: &'a TimeWaitOptions, world: &World) -> Self {
        let closings = Closings::new(world.clocks.monotonic_ns(), MOST_CLOSINGS);
        Self { options, closings, closers: Closers::new(world), closed: 0, latest_ns: 0 }
    }

    fn status(&self, elapsed_ns: u64) -> Vec<String> {
        let closed = plural(self.closed, "connection");
        vec![format!("{closed} closed here first"), Elapsed(elapsed_ns).to_string()]
    }

    /// Takes the records that have come; returns whether there may be more.
    fn take(&mut self, transitions: &mut impl Transitions) -> bool {
        let Self { options, closings, closers, closed, latest_ns } = self;
        transitions.take(|transition| {
            *latest_ns = transition.ktime_ns.max(*latest_ns);
            // The kernel side has applied the rest.
            let is_in = options.criteria.admits_netns(transition.socket.netns);
            if !is_in || !Closings::is_closing(&transition) {
                return;
            }
            *closed += 1;
            closings.remember(&transition, closers.identify(&transition.oncpu, transition.ktime_ns));
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::{
        commands::shared::transition_stream::scripted::Script,
        forms::{jsonl, reading::reader::Reader},
        host::clock::Clocks,
        model::{
            criteria::Criteria,
            examples::{self, SECOND},
            record::Record,
            state::State,
            transition::Transition,
        },
        output::options::{FileOptions, OutputOptions, Route, Sink},
    };

    #[tokio::test]
    async fn closings_are_counted_until_a_signal_on_a_host_without_namespaces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session.jsonl");
        let world = World::planted(directory.path(), Clocks::scripted(1_000 * SECOND));
        let route =
            Route { sink: Sink::File(path.clone()), format: &jsonl::form::FORMAT, is_compressed: false };
        let options = TimeWaitOptions {
            criteria: Criteria { netns: vec![5], ..Criteria::default() },
            live: None,
            exit_code: true,
            ports_used_percent: 80,
            rows: 20,
            outputs: OutputOptions { routes: vec![route], files: FileOptions::default() },
        };
        let outputs = OpenedOutputs::open(&options.outputs).unwrap();
        let script = Script::default();
        let (sender, signals) = Signals::scripted();
        let sources = Sources { transitions: script.clone(), signals };
        let act = async {
            for netns in [Some(5), Some(4), None] {
                let mut closing = Transition {
                    old_state: State::Established,
                    new_state: State::FinWait1,
                    ..examples::transition()
                };
                closing.socket.netns = netns;
                script.push(closing);
            }
            script.lose(2);
            world.clocks.advance(Duration::from_secs(30));
            sleep(Duration::from_millis(250)).await;
            sender.send(SignalRequest::End).await.unwrap();
        };
        let watched = watch(&options, None, &world, 1_000 * SECOND, sources, outputs);
        let (ended, ()) = tokio::join!(watched, act);
        assert_eq!(ended.unwrap(), Conclusion::Blind, "nothing leads to the namespace");
        let mut reader = Reader::open(&path).unwrap();
        let records: Vec<Record> = std::iter::from_fn(|| reader.next().unwrap()).collect();
        let summary = records.into_iter().find_map(|record| match record {
            Record::Summary(summary) => Some(summary),
            _ => None,
        });
        let summary = summary.unwrap();
        assert_eq!((summary.duration_ns, summary.totals.records, summary.totals.lost), (30 * SECOND, 3, 2));
    }
}
