//! `tcptrace leaks`: times every socket in CLOSE_WAIT and names who holds those that are stuck.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    SessionError, growth::descriptors_run_out_in_ns, header, leak, pump::Pump, status::StatusLine,
    stop::Stop, tally::Tally,
};
use crate::{
    diagnosis::Verdict,
    host::{
        clock::{WallClock, monotonic_ns},
        privilege,
    },
    kernel::TracerOptions,
    owners::{
        Evidence, Owner, ProcessIdentity,
        filter::OwnerFilter,
        inspector::Finding,
        listing::Roots,
        process::DescriptorUse,
        tables::Tables,
        worker::{Answer, Worker, WorkerGone},
    },
    record::{Age, EndedHow, LeakEnd, Record, Summary, Totals},
    sink::{Destination, Format, Harmless, Sink, WriteError},
    sockets::{CloseWaitTable, Left, Settled},
    transition::{State, Transition},
    units::{Elapsed, plural},
};

/// How long a record may lie unseen, and how much later than due a socket is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks between two updates of the status line and of the clocks' relation: a second.
const LOOKS_A_SECOND: u32 = 10;

/// Looks between two forecasts: ten seconds.
const LOOKS_A_FORECAST: u32 = 100;

/// Sockets looked at in one go.
const BATCH: usize = 10_000;

/// `sk_err` of a socket that an administrator destroyed: `tcp_abort` of net/ipv4/tcp.c.
const ECONNABORTED: u16 = 103;

/// What to look for and where to write it.
#[derive(Clone, Debug)]
pub struct LeaksOptions {
    /// What the kernel side does.
    pub tracer: TracerOptions,
    /// Namespaces (inode numbers) that are wanted; none = all.
    pub netns: Vec<u32>,
    /// Whose sockets are wanted.
    pub owners: OwnerFilter,
    /// A socket is stuck after this long in CLOSE_WAIT.
    pub older_than: Duration,
    /// Sockets followed at once.
    pub max_sockets: usize,
    /// Ends by itself after this time.
    pub duration: Option<Duration>,
    /// Where the records go.
    pub destination: Destination,
    /// Their form.
    pub format: Format,
}

/// Runs until it is stopped; returns whether a leak was found.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub async fn run(options: &LeaksOptions) -> Result<bool, SessionError> {
    privilege::check()?;
    let system = |what| move |source| SessionError::System { what, source };
    let mut stop = Stop::after(options.duration).map_err(system("wait for signals"))?;
    let sink = Sink::open(&options.destination, options.format)?;
    let started_ns = monotonic_ns();
    let mut pump = Pump::start(&options.tracer)?;
    let tables = Tables::new(None)?;
    let mut worker = Worker::start(Roots::default(), tables, active_window_ms(options), pump.take_calls())
        .map_err(system("start a thread"))?;
    let mut session = Session {
        options,
        sink,
        clock: WallClock::now(),
        table: CloseWaitTable::new(pump.identity(), nanoseconds(options.older_than), options.max_sockets),
        tally: Tally::default(),
        status: StatusLine::new(),
        growing: None,
        forecast: None,
    };
    session.sink.write(&Record::Header(Box::new(header(pump.backend(), session.clock.at(started_ns)))))?;
    session.sink.flush()?;
    // The tracer is attached: what the kernel lists from now on was there first, or is seen coming.
    worker.ask_for_seeds();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0;
    loop {
        let more = session.take_records(&mut pump)?;
        if more {
            // Signals and timers get their turn even when records never stop coming.
            tokio::task::yield_now().await;
        }
        tokio::select! {
            biased;
            () = stop.wait() => break,
            answer = worker.answer() => session.take_answer(answer?)?,
            _ = ticks.tick() => {
                looks += 1;
                if looks % LOOKS_A_SECOND == 0 {
                    session.clock = WallClock::now();
                    let totals = pump.totals();
                    session.tally.sample(monotonic_ns());
                    session.show_status(totals, started_ns);
                }
                if !worker.is_busy() {
                    let due = session.table.take_due(monotonic_ns(), BATCH);
                    if !due.is_empty() {
                        worker.ask_about(due);
                    } else if looks % LOOKS_A_FORECAST == 0 {
                        session.begin_forecast(&mut worker);
                    }
                }
            }
            ready = pump.readable(), if !more => ready.map_err(system("wait for the ring buffer"))?,
            () = std::future::ready(()), if more => {}
        }
    }
    let ended_ns = monotonic_ns();
    session.take_records(&mut pump)?;
    let uses = session.finish_looking(&mut worker).await?;
    session.take_records(&mut pump)?;
    let totals = pump.totals();
    session.finish(totals, &uses, ended_ns, ended_ns.saturating_sub(started_ns))?;
    Ok(session.tally.reported() > 0)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A socket that was written to within the threshold is still in use; the threshold is taken as given
/// between one second and one minute.
fn active_window_ms(options: &LeaksOptions) -> u64 {
    u64::try_from(options.older_than.as_millis()).unwrap_or(u64::MAX).clamp(1_000, 60_000)
}

struct Session<'a> {
    options: &'a LeaksOptions,
    sink: Sink,
    clock: WallClock,
    table: CloseWaitTable,
    tally: Tally,
    status: StatusLine,
    /// Who grows the fastest, while the worker finds out about its descriptors.
    growing: Option<(Arc<ProcessIdentity>, f64)>,
    /// What came of it.
    forecast: Option<Forecast>,
}

/// How the process that grows the fastest will fare.
struct Forecast {
    process: Arc<ProcessIdentity>,
    /// Stuck sockets a minute.
    per_minute: f64,
    descriptors: DescriptorUse,
}

impl fmt::Display for Forecast {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, per_minute, descriptors: DescriptorUse { used, limit } } = self;
        write!(formatter, "; {} ({}) {per_minute:+.1} a minute", Harmless(&process.comm), process.pid)?;
        if let (Some(used), Some(limit)) = (used, limit) {
            write!(formatter, ", {used} of {limit} descriptors")?;
            if let Some(left) = descriptors_run_out_in_ns(*used, *limit, *per_minute) {
                write!(formatter, ", none left in {}", Elapsed(left))?;
            }
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Takes the records that have come; returns whether there may be more.
    fn take_records(&mut self, pump: &mut Pump) -> Result<bool, WriteError> {
        let mut ended = Vec::new();
        let more = pump.take(|transition| {
            if !self.is_wanted(transition.socket.netns) {
                return;
            }
            if let Some(left) = self.table.observe(transition) {
                ended.extend(left.ticket.map(|ticket| (left, ticket, *transition)));
            }
        });
        for (left, ticket, transition) in ended {
            let end = self.end(&left, ticket, &transition);
            self.tally.end(ticket, left.since, transition.ktime_ns);
            self.write(&Record::LeakEnd(Box::new(end)))?;
        }
        self.sink.flush()?;
        Ok(more)
    }

    fn is_wanted(&self, netns: Option<u32>) -> bool {
        self.options.netns.is_empty() || netns.is_some_and(|netns| self.options.netns.contains(&netns))
    }

    fn write(&mut self, record: &Record) -> Result<(), WriteError> {
        self.status.clear();
        self.sink.write(record)
    }

    fn end(&self, left: &Left, ticket: u32, transition: &Transition) -> LeakEnd {
        let how = how_it_ended(transition);
        // close() and exit() run in the process's own context, so here the on-CPU task is the one.
        let closed_by = matches!(how, EndedHow::Closed | EndedHow::OwnerExited).then(|| {
            let task = transition.oncpu;
            let process = self
                .tally
                .owner(ticket, task.pid)
                .unwrap_or_else(|| Arc::new(ProcessIdentity::from_name(task.pid, &task.comm.to_text())));
            Owner { process, fds: Vec::new(), inherited: None, evidence: Evidence::None }
        });
        LeakEnd {
            time: self.clock.at(transition.ktime_ns),
            socket: left.socket,
            age: Age::at(left.since, transition.ktime_ns),
            how: Some(how),
            closed_by,
        }
    }

    fn take_answer(&mut self, answer: Answer) -> Result<(), WriteError> {
        match answer {
            Answer::Seeds(seeds) => {
                for seed in &seeds {
                    if self.is_seed_wanted(seed) {
                        self.table.seed(seed);
                    }
                }
                self.table.seeded();
                Ok(())
            }
            Answer::Findings(findings) => {
                for finding in &findings {
                    self.settle(finding)?;
                }
                self.sink.flush()
            }
            Answer::DescriptorUse(uses) => {
                self.forecast = self.growing.take().map(|(process, per_minute)| {
                    let descriptors = uses.first().copied().unwrap_or_default();
                    Forecast { process, per_minute, descriptors }
                });
                Ok(())
            }
        }
    }

    /// The kernel side filters transitions; what was there first is filtered here.
    fn is_seed_wanted(&self, seed: &crate::sockets::Seed) -> bool {
        self.is_wanted(seed.socket.netns) && self.options.tracer.filter.admits(&seed.socket.endpoints)
    }

    fn settle(&mut self, finding: &Finding) -> Result<(), WriteError> {
        if !self.table.contains(finding.key) {
            // It left while it was looked at: its end has been seen.
            return Ok(());
        }
        if !finding.is_stuck {
            self.table.settle(finding.key, Settled::Gone);
            return Ok(());
        }
        if finding.verdict == Some(Verdict::HalfOpen) {
            let again = finding.looked_at_ns + active_window_ms(self.options) * 1_000_000;
            self.table.settle(finding.key, Settled::LookAgain(again));
            return Ok(());
        }
        if !self.options.owners.admits(&finding.owners) {
            self.table.settle(finding.key, Settled::Ignored);
            return Ok(());
        }
        self.table.learn(finding.key, &finding.socket);
        let ticket = self.tally.report(finding);
        self.table.settle(finding.key, Settled::Reported(ticket));
        let leak = leak(finding, self.clock);
        self.write(&Record::Leak(Box::new(leak)))
    }

    /// Asks how many descriptors the process has left whose sockets grow the fastest, for the status line.
    fn begin_forecast(&mut self, worker: &mut Worker) {
        self.growing = self.tally.steepest();
        match &self.growing {
            Some((process, _)) => worker.ask_for_descriptor_use(vec![process.pid]),
            None => self.forecast = None,
        }
    }

    fn show_status(&mut self, totals: Totals, started_ns: u64) {
        let (in_close_wait, reported) = (self.table.len() as u64, self.tally.reported());
        let forecast = self.forecast.as_ref();
        self.status.show(|| {
            format!(
                "watching for {}: {} in CLOSE_WAIT, {} reported, {}, {} lost{}",
                Elapsed(monotonic_ns().saturating_sub(started_ns)),
                plural(in_close_wait, "socket"),
                plural(reported, "leak"),
                plural(totals.records, "record"),
                totals.lost,
                forecast.map(Forecast::to_string).unwrap_or_default(),
            )
        });
    }

    /// Lets the worker finish what it is at, then asks for the descriptors of every process found.
    async fn finish_looking(&mut self, worker: &mut Worker) -> Result<Vec<DescriptorUse>, SessionError> {
        while worker.is_busy() {
            let answer = worker.answer().await?;
            self.take_answer(answer)?;
        }
        worker.ask_for_descriptor_use(self.tally.pids());
        match worker.answer().await? {
            Answer::DescriptorUse(uses) => Ok(uses),
            Answer::Seeds(_) | Answer::Findings(_) => Err(WorkerGone.into()),
        }
    }

    fn finish(
        &mut self,
        mut totals: Totals,
        uses: &[DescriptorUse],
        ended_ns: u64,
        duration_ns: u64,
    ) -> Result<(), WriteError> {
        totals.evicted += self.table.evicted();
        totals.unattributed = self.tally.unattributed();
        let processes = self.tally.summary(self.table.reported(), uses, ended_ns);
        let summary = Summary {
            time: self.clock.at(ended_ns),
            duration_ns,
            totals,
            in_close_wait: Some(self.table.len() as u64),
            processes,
        };
        self.write(&Record::Summary(Box::new(summary)))?;
        self.sink.flush()
    }
}

/// How a socket left CLOSE_WAIT: by the state it went to, and by what the kernel knew of the reason.
fn how_it_ended(transition: &Transition) -> EndedHow {
    let cause = transition.cause;
    let error = cause.map_or(0, |cause| cause.error);
    let is_by_a_process = match transition.new_state {
        State::LastAck => true,
        // close() with unread data resets at once and leaves no error behind (`__tcp_close`); a reset
        // from the peer or a timeout leaves one (`tcp_reset`, `tcp_write_err`).
        _ => cause.is_some() && error == 0,
    };
    match (is_by_a_process, error) {
        (true, _) if cause.is_some_and(|cause| cause.oncpu_exiting) => EndedHow::OwnerExited,
        (true, _) => EndedHow::Closed,
        (false, ECONNABORTED) => EndedHow::Destroyed,
        (false, _) => EndedHow::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transition::{Cause, Comm, Endpoints, KernelSocket, Socket, SocketKey, Task};

    fn ended(new_state: State, cause: Option<Cause>) -> EndedHow {
        how_it_ended(&Transition {
            key: SocketKey(1),
            socket: Socket {
                cookie: Some(1),
                netns: None,
                endpoints: Endpoints {
                    local: ([127, 0, 0, 1], 1).into(),
                    remote: ([127, 0, 0, 1], 2).into(),
                },
            },
            is_mptcp: false,
            ktime_ns: 1,
            old_state: State::CloseWait,
            new_state,
            entered_ns: None,
            oncpu: Task { pid: 1, tid: 1, comm: Comm::default() },
            kernel_socket: KernelSocket(1),
            cause,
            cgroup_id: None,
        })
    }

    #[test]
    fn the_state_and_the_error_tell_how_it_ended() {
        let cause = |error, oncpu_exiting| Some(Cause { error, oncpu_exiting });
        assert_eq!(ended(State::LastAck, cause(0, false)), EndedHow::Closed);
        assert_eq!(ended(State::LastAck, None), EndedHow::Closed);
        assert_eq!(ended(State::LastAck, cause(0, true)), EndedHow::OwnerExited);
        // Unread data: close() resets at once.
        assert_eq!(ended(State::Close, cause(0, false)), EndedHow::Closed);
        assert_eq!(ended(State::Close, cause(0, true)), EndedHow::OwnerExited);
        assert_eq!(ended(State::Close, cause(32, false)), EndedHow::Reset);
        assert_eq!(ended(State::Close, cause(ECONNABORTED, false)), EndedHow::Destroyed);
        assert_eq!(ended(State::Close, None), EndedHow::Reset);
    }
}
