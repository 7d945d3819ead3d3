//! `tcptrace time-wait`: who fills the TIME_WAIT tables, how long the ports last, and what helps. One look, or looks at
//! intervals while closings are traced.

mod look;
mod report;

use std::{path::PathBuf, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::{MissedTickBehavior, interval};

use self::{
    look::{Look, Wanted, look},
    report::{Knowledge, Rates},
};
use super::{SessionError, header, pump::Pump, status::StatusLine, stop::Stop};
use crate::{
    host::{
        clock::{WallClock, monotonic_ns},
        kernel_version::KernelVersion,
        privilege,
        sysctl_files::{self, Setting},
        tcp_counters::TcpCounters,
    },
    kernel::{KernelFilter, TracerOptions},
    owners::{Owner, candidates, closers::Closers, filter::OwnerFilter, listing::Roots},
    record::{Record, Summary, TimeWaitLook, Totals},
    sink::{Destination, Format, Sink},
    time_wait::closings::Closings,
    units::{Elapsed, plural},
};

/// How long a record may lie unseen: the kernel side wakes us for the first after a quiet time only.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);

/// How long the records that are still in the ring at the end are taken out, while new ones keep coming.
const LAST_TAKE_NS: u64 = 1_000_000_000;

/// Closings remembered: some 30 bytes each.
const MOST_CLOSINGS: usize = 1_000_000;

/// Of the time between two looks, looking takes a tenth at most.
const REST: u64 = 9;

/// Destinations of a namespace that candidates are looked for: the largest.
const MOST_ASKED: usize = 32;

/// Settings that are looked for in files.
const IN_FILES: [&str; 6] = [
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.ip_local_port_range",
];

/// What to look at and where to write it.
#[derive(Clone, Debug)]
pub struct TimeWaitOptions {
    /// Connections that are wanted.
    pub filter: KernelFilter,
    /// Namespaces (inode numbers) that are wanted; none = all.
    pub netns: Vec<u32>,
    /// Whose connections are wanted.
    pub owners: OwnerFilter,
    /// How closings are traced; `None` looks once.
    pub live: Option<LiveLooks>,
    /// A destination counts as found from this share of its ports on, in percent.
    pub ports_used_percent: u64,
    /// Rows of a table in the text form.
    pub rows: usize,
    /// Below which the files with settings are (`/`).
    pub files_root: PathBuf,
    /// Where the records go.
    pub destination: Destination,
    /// Their form.
    pub format: Format,
}

/// Looks at intervals.
#[derive(Clone, Debug)]
pub struct LiveLooks {
    /// What the kernel side does.
    pub tracer: TracerOptions,
    /// Time between looks; `None` goes by the output.
    pub interval: Option<Duration>,
    /// Ends by itself after this time.
    pub duration: Option<Duration>,
}

/// Looks once; returns whether a destination has reached the share of its ports.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub fn run_once(options: &TimeWaitOptions) -> Result<bool, SessionError> {
    privilege::warn_of_losses();
    let mut sink = Sink::open(&options.destination, options.format)?;
    let (started_ns, clock) = (monotonic_ns(), WallClock::now());
    let mut session = Session::new(options);
    let look = session.look(None)?;
    let candidates = session.candidates(&look);
    let shown = session.report(&look, Rates::default(), candidates, None, started_ns, clock);
    let minisockets: u64 =
        shown.namespaces.iter().map(|(summary, _)| summary.count + summary.fin_wait2).sum();
    sink.write(&Record::Header(Box::new(header("sock_diag", clock.at(started_ns)))))?;
    sink.write_time_wait(&shown, options.rows, false)?;
    if options.format == Format::Jsonl {
        let totals = Totals { records: minisockets, unattributed: minisockets, ..Totals::default() };
        sink.write(&summary(totals, session.crowded_out, started_ns, clock))?;
    }
    sink.flush()?;
    Ok(session.is_found)
}

/// Traces and looks until it is stopped; returns whether a destination has reached the share of its ports.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub async fn run_live(options: &TimeWaitOptions, live: &LiveLooks) -> Result<bool, SessionError> {
    privilege::check()?;
    let system = |what| move |source| SessionError::System { what, source };
    let mut stop = Stop::after(live.duration).map_err(system("wait for signals"))?;
    let mut sink = Sink::open(&options.destination, options.format)?;
    let (started_ns, mut clock) = (monotonic_ns(), WallClock::now());
    let mut pump = Pump::start(&live.tracer)?;
    let is_page = sink.is_page();
    let looks_every = live.interval.unwrap_or(Duration::from_secs(if is_page { 2 } else { 10 }));
    let mut session = Session::new(options);
    let mut traced = Traced::new(options, monotonic_ns());
    let mut status = StatusLine::new();
    let mut ticks = interval(DRAIN_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sink.write(&Record::Header(Box::new(header(pump.backend(), clock.at(started_ns)))))?;
    sink.flush()?;
    // What comes in rates needs something to be compared with.
    let mut next_look_ns = started_ns;
    let mut is_first = true;
    let mut is_last = false;
    loop {
        let more = traced.take(&mut pump);
        if more {
            // Signals and timers get their turn even when records never stop coming.
            tokio::task::yield_now().await;
        }
        tokio::select! {
            biased;
            () = stop.wait() => is_last = true,
            _ = ticks.tick() => {}
            ready = pump.readable(), if !more => ready.map_err(system("wait for the ring buffer"))?,
            () = std::future::ready(()), if more => {}
        }
        let now_ns = monotonic_ns();
        if now_ns < next_look_ns && !is_last {
            if !is_page {
                status.show(|| {
                    format!(
                        "watching for {}: {} closed here first",
                        Elapsed(now_ns.saturating_sub(started_ns)),
                        plural(traced.closed, "connection")
                    )
                });
            }
            continue;
        }
        while is_last && traced.take(&mut pump) && monotonic_ns() < now_ns + LAST_TAKE_NS {}
        clock = WallClock::now();
        let look = session.look(Some(&traced.closings))?;
        let looked_ns = monotonic_ns();
        let rates = Rates::of(&mut traced.closings, &look, now_ns);
        let shown = session.report(&look, rates, FxHashMap::default(), Some(&traced.closers), now_ns, clock);
        status.clear();
        if is_page || !is_first || is_last {
            sink.write_time_wait(&shown, options.rows, is_page)?;
            sink.flush()?;
        }
        is_first = false;
        if is_last {
            let unseen = shown.namespaces.iter().flat_map(|(_, destinations)| destinations);
            let unseen = unseen.filter_map(|destination| destination.closed_first_unseen).sum();
            let totals = pump.totals();
            let evicted = totals.evicted + traced.closings.evicted();
            let totals = Totals { evicted, unattributed: unseen, ..totals };
            sink.write(&summary(totals, session.crowded_out, started_ns, clock))?;
            sink.flush()?;
            return Ok(session.is_found);
        }
        let pause = nanoseconds(looks_every).max((looked_ns - now_ns).saturating_mul(REST));
        next_look_ns = now_ns.saturating_add(pause);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The end of a session. Destinations that there was no room for are evicted too.
fn summary(totals: Totals, crowded_out: u64, started_ns: u64, clock: WallClock) -> Record {
    let ended_ns = monotonic_ns();
    Record::Summary(Box::new(Summary {
        time: clock.at(ended_ns),
        duration_ns: ended_ns.saturating_sub(started_ns),
        totals: Totals { evicted: totals.evicted + crowded_out, ..totals },
        in_close_wait: None,
        processes: Vec::new(),
    }))
}

/// What the kernel side told.
struct Traced<'a> {
    options: &'a TimeWaitOptions,
    closings: Closings,
    closers: Closers,
    /// Connections that were closed here first.
    closed: u64,
}

impl<'a> Traced<'a> {
    fn new(options: &'a TimeWaitOptions, now_ns: u64) -> Self {
        let closers = Closers::new(&Roots::default().proc_root);
        Self { options, closings: Closings::new(now_ns, MOST_CLOSINGS), closers, closed: 0 }
    }

    /// Takes the records that have come; returns whether there may be more.
    fn take(&mut self, pump: &mut Pump) -> bool {
        let Self { options, closings, closers, closed } = self;
        pump.take(|transition| {
            let netns = transition.socket.netns;
            let is_in = options.netns.is_empty() || netns.is_some_and(|netns| options.netns.contains(&netns));
            if !is_in || !Closings::is_closing(transition) {
                return;
            }
            *closed += 1;
            closings.remember(transition, closers.identify(&transition.oncpu, transition.ktime_ns));
        })
    }
}

/// What is kept between looks.
struct Session<'a> {
    options: &'a TimeWaitOptions,
    roots: Roots,
    files: Vec<Setting>,
    kernel: Option<KernelVersion>,
    /// What each namespace had counted, and when.
    earlier: FxHashMap<u32, (u64, TcpCounters)>,
    is_found: bool,
    crowded_out: u64,
}

impl<'a> Session<'a> {
    fn new(options: &'a TimeWaitOptions) -> Self {
        Self {
            options,
            roots: Roots::default(),
            files: sysctl_files::settings(&options.files_root, &IN_FILES),
            kernel: KernelVersion::running(),
            earlier: FxHashMap::default(),
            is_found: false,
            crowded_out: 0,
        }
    }

    fn look(&self, closings: Option<&Closings>) -> Result<Look, SessionError> {
        let wanted = Wanted { filter: &self.options.filter, netns: &self.options.netns };
        Ok(look(&self.roots, wanted, closings)?)
    }

    /// Who has connections open to where most minisockets are, or listens there.
    fn candidates(&self, look: &Look) -> FxHashMap<u32, Vec<Owner>> {
        let (mut connections, mut listeners) = (FxHashSet::default(), FxHashSet::default());
        for namespace in &look.namespaces {
            let mut groups: Vec<_> = namespace.table.groups().map(|(_, group)| group).collect();
            groups.sort_by_key(|group| std::cmp::Reverse(group.minisockets()));
            for group in groups.into_iter().take(MOST_ASKED) {
                connections.extend(&group.connections);
                listeners.extend(&group.listeners);
            }
        }
        candidates::holders(&self.roots, &connections, &listeners)
    }

    fn report(
        &mut self,
        look: &Look,
        rates: Rates,
        candidates: FxHashMap<u32, Vec<Owner>>,
        closers: Option<&Closers>,
        began_ns: u64,
        clock: WallClock,
    ) -> TimeWaitLook {
        let knowledge = Knowledge {
            kernel: self.kernel,
            files: &self.files,
            owners: &self.options.owners,
            closers,
            rates,
            candidates,
            earlier: &self.earlier,
        };
        let report = |namespace| report::namespace(namespace, &knowledge, clock);
        let namespaces: Vec<_> = look.namespaces.iter().map(report).collect();
        let percent = self.options.ports_used_percent;
        let ports = namespaces.iter().flat_map(|(_, destinations)| destinations).filter_map(|one| one.ports);
        self.is_found |= ports.into_iter().any(|ports| ports.reaches(percent));
        self.crowded_out = namespaces.iter().map(|(summary, _)| summary.crowded_out).sum();
        let counted = |look: &look::NamespaceLook| (look.netns, (look.asked_ns, look.counters));
        self.earlier = look.namespaces.iter().map(counted).collect();
        TimeWaitLook {
            time: clock.at(began_ns),
            duration_ns: monotonic_ns().saturating_sub(began_ns),
            is_traced: closers.is_some(),
            namespaces_found: look.found,
            unreadable: look.unreadable,
            namespaces,
        }
    }
}
