//! `tcptrace clear`: lists what is stuck and was asked for, and ends it when told to.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    sync::Arc,
};

use rustc_hash::FxHashMap;

use super::{SessionError, header, tally::Tally};
use crate::{
    clear::{
        Method, Outcome, Refusal,
        act::{self, Acted, Target},
        selection::{Choice, Selection},
        ways::Ways,
    },
    diagnosis::ACTIVE_WINDOW_MS,
    host::{
        clock::{WallClock, monotonic_ns},
        privilege,
    },
    owners::{
        Evidence, ProcessIdentity,
        inspector::{Finding, Inspector},
        listing::Roots,
        snapshot::Snapshot,
        tables::Tables,
    },
    record::{
        Actor, Age, ClearEnd, ClearPlan, Cleared, Kept, LeftOut, Outcomes, Record, Scope, Summary, Totals,
    },
    sink::{self, Destination, Format, Sink},
    sockets::Ticket,
    transition::State,
    units::plural,
};

/// Sockets ended before what became of them is written: what cannot be recorded is not gone on with.
const BATCH: usize = 1_000;

/// What to end and how.
#[derive(Clone, Debug)]
pub struct ClearOptions {
    /// Which sockets.
    pub selection: Selection,
    /// By which way, when one was asked for.
    pub method: Option<Method>,
    /// Whether to end them without asking.
    pub yes: bool,
    /// Rows of the list in the text form.
    pub rows: usize,
    /// Where the records go.
    pub destination: Destination,
    /// Their form.
    pub format: Format,
}

/// Lists, asks, ends; returns whether every socket that was to be ended could be.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub fn run(options: &ClearOptions) -> Result<bool, SessionError> {
    privilege::check()?;
    let ways = Ways::of_this_host(options.method)?;
    let mut sink = Sink::open(&options.destination, options.format)?;
    let started_ns = monotonic_ns();
    let clock = WallClock::now();
    let mut inspector = Inspector::new(Roots::default(), Tables::new(None)?, ACTIVE_WINDOW_MS, None);
    let look = inspector.snapshot(options.selection.states);
    let backend = look.source.name();
    let mut session = Session::choose(&options.selection, look, &ways, clock, started_ns);
    sink.write(&Record::Header(Box::new(header(backend, clock.at(started_ns)))))?;
    // Before anything is ended it is known that it can be recorded.
    sink.flush()?;

    let may_act = !session.targets.is_empty() && (options.yes || is_on_terminal());
    if !may_act {
        let (plan, end) = (session.plan(&inspector), session.end(&inspector));
        sink.write_plan(plan, end, options.rows)?;
        sink.flush()?;
        return Ok(true);
    }
    if options.yes || ask(&session.plan(&inspector), options.rows) {
        session.act(&mut inspector, &mut sink)?;
    }
    sink.write(&Record::ClearEnd(Box::new(session.end(&inspector))))?;
    sink.flush()?;
    for (refusal, count) in &session.refusals {
        log::error!("{} could not be ended: {refusal}", plural(*count, "socket"));
    }
    Ok(session.refusals.is_empty())
}

fn is_on_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Shows what would happen and asks whether it is to. What cannot be asked is not answered with yes.
fn ask(plan: &ClearPlan, rows: usize) -> bool {
    let list = sink::plan_for_terminal(plan, rows);
    let count = plural(plan.planned.len() as u64, "socket");
    let mut answer = String::new();
    let mut terminal = io::stderr().lock();
    let asked = write!(terminal, "{list}\nEnd {count}? [y/N] ").and_then(|()| terminal.flush());
    asked.and_then(|()| io::stdin().lock().read_line(&mut answer)).is_ok()
        && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// The sockets that were chosen, and what became of them so far.
struct Session {
    selection: Arc<Selection>,
    actor: Arc<Actor>,
    clock: WallClock,
    started_ns: u64,
    /// The oldest first.
    targets: Vec<Target>,
    /// One a target.
    tickets: Vec<Ticket>,
    tally: Tally,
    outcomes: Outcomes,
    refusals: FxHashMap<Refusal, u64>,
    /// Descriptors that stay open, by process.
    kept: BTreeMap<u32, (Arc<ProcessIdentity>, u64)>,
    left_out: LeftOut,
    scope: Scope,
    listed: u64,
    in_close_wait: Option<u64>,
}

impl Session {
    /// Chooses among everything that was found.
    fn choose(selection: &Selection, look: Snapshot, ways: &Ways, clock: WallClock, started_ns: u64) -> Self {
        let Snapshot { findings, namespaces, processes, unreadable, source: _ } = look;
        let listed = findings.len() as u64;
        let is_close_wait = |finding: &&Finding| finding.state == State::CloseWait;
        let in_close_wait = findings.iter().filter(is_close_wait).count() as u64;
        let mut left_out = LeftOut::default();
        let mut chosen: Vec<Finding> = findings
            .into_iter()
            .filter(|finding| match selection.judge(finding) {
                Choice::Chosen => true,
                Choice::Other => false,
                Choice::TooYoung => {
                    left_out.too_young += 1;
                    false
                }
                Choice::StillUsed => {
                    left_out.still_used += 1;
                    false
                }
            })
            .collect();
        // The cookie makes the order the same each time.
        chosen.sort_by_key(|finding| {
            (Reverse(finding.since.age_at(finding.looked_at_ns).0), finding.socket.cookie)
        });
        let limit = selection.limit.unwrap_or(usize::MAX);
        left_out.beyond_limit = chosen.len().saturating_sub(limit) as u64;
        chosen.truncate(limit);
        let mut tally = Tally::default();
        let tickets = chosen.iter().map(|finding| tally.report(finding)).collect();
        let targets =
            chosen.into_iter().map(|finding| Target { method: ways.for_socket(&finding), finding }).collect();
        let states = selection.states;
        Self {
            selection: Arc::new(selection.clone()),
            actor: Arc::new(actor()),
            clock,
            started_ns,
            targets,
            tickets,
            tally,
            outcomes: Outcomes::default(),
            refusals: FxHashMap::default(),
            kept: BTreeMap::new(),
            left_out,
            scope: Scope {
                states,
                namespaces: namespaces as u64,
                processes: processes as u64,
                unreadable: unreadable as u64,
            },
            listed,
            in_close_wait: states.contains(State::CloseWait).then_some(in_close_wait),
        }
    }

    /// What would happen.
    fn plan(&mut self, inspector: &Inspector) -> ClearPlan {
        let mut kept = BTreeMap::new();
        let mut shared = 0;
        let mut planned = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            let outcome = Outcome::DryRun(target.method.clone().err());
            if target.method.is_ok() {
                keep(&mut kept, &target.finding);
            }
            let is_stranger = |owner| !self.selection.owners.admits(std::slice::from_ref(owner));
            shared += u64::from(target.finding.owners.iter().any(is_stranger));
            planned.push(self.record(target, outcome, target.finding.looked_at_ns));
        }
        self.outcomes = Outcomes { dry_run: planned.len() as u64, ..Outcomes::default() };
        ClearPlan {
            planned,
            shared,
            left_out: self.left_out,
            scope: self.scope,
            duration_ns: monotonic_ns().saturating_sub(self.started_ns),
            kept: with_use(&kept, inspector),
        }
    }

    /// Ends the targets, namespace by namespace, and writes what became of each.
    fn act(&mut self, inspector: &mut Inspector, sink: &mut Sink) -> Result<(), SessionError> {
        self.outcomes = Outcomes::default();
        let mut by_netns: BTreeMap<Option<u32>, Vec<(Target, Ticket)>> = BTreeMap::new();
        for (target, ticket) in std::mem::take(&mut self.targets).into_iter().zip(&self.tickets) {
            by_netns.entry(target.finding.socket.netns).or_default().push((target, *ticket));
        }
        for (netns, targets) in by_netns {
            let (targets, tickets): (Vec<Target>, Vec<Ticket>) = targets.into_iter().unzip();
            for (targets, tickets) in targets.chunks(BATCH).zip(tickets.chunks(BATCH)) {
                let talk = inspector.talk_in(netns.unwrap_or_default());
                let acted = act::end(talk, targets, &self.selection);
                for ((target, ticket), acted) in targets.iter().zip(tickets).zip(acted) {
                    self.settle(target, *ticket, acted, sink)?;
                }
                sink.flush()?;
            }
        }
        Ok(())
    }

    fn settle(
        &mut self,
        target: &Target,
        ticket: Ticket,
        acted: Acted,
        sink: &mut Sink,
    ) -> Result<(), SessionError> {
        let Acted { outcome, at_ns } = acted;
        self.outcomes.count(&outcome);
        match &outcome {
            Outcome::Gone | Outcome::Closing(_) => {
                keep(&mut self.kept, &target.finding);
                self.tally.end(ticket, target.finding.since, at_ns);
                if target.finding.state == State::CloseWait {
                    self.in_close_wait = self.in_close_wait.map(|count| count.saturating_sub(1));
                }
            }
            Outcome::Refused(refusal) => *self.refusals.entry(refusal.clone()).or_default() += 1,
            Outcome::Changed(_) | Outcome::DryRun(_) => {}
        }
        Ok(sink.write(&Record::Cleared(Box::new(self.record(target, outcome, at_ns))))?)
    }

    fn record(&self, target: &Target, outcome: Outcome, at_ns: u64) -> Cleared {
        let Target { finding, method } = target;
        Cleared {
            time: self.clock.at(at_ns),
            socket: finding.socket,
            state: finding.state,
            age: (finding.state == State::CloseWait).then(|| Age::at(finding.since, at_ns)),
            verdict: finding.verdict,
            method: method.clone().ok(),
            outcome,
            owners: finding.owners.clone(),
            cleared_by: Arc::clone(&self.actor),
            selection: Arc::clone(&self.selection),
        }
    }

    /// The sums.
    fn end(&mut self, inspector: &Inspector) -> ClearEnd {
        let ended_ns = monotonic_ns();
        let uses = inspector.descriptor_use(&self.tally.pids());
        let totals =
            Totals { records: self.listed, unattributed: self.tally.unattributed(), ..Totals::default() };
        let summary = Summary {
            time: self.clock.at(ended_ns),
            duration_ns: ended_ns.saturating_sub(self.started_ns),
            totals,
            in_close_wait: self.in_close_wait,
            processes: self.tally.summary(std::iter::empty(), &uses, ended_ns),
        };
        ClearEnd { summary, outcomes: self.outcomes, kept: with_use(&self.kept, inspector) }
    }
}

/// Who runs this.
fn actor() -> Actor {
    let sudo_user = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    Actor { pid: std::process::id(), uid: rustix::process::getuid().as_raw(), sudo_user }
}

/// Counts the descriptors of a socket for each process that holds it.
fn keep(kept: &mut BTreeMap<u32, (Arc<ProcessIdentity>, u64)>, finding: &Finding) {
    for owner in finding.owners.iter().filter(|owner| owner.evidence == Evidence::FdTable) {
        let (_, descriptors) =
            kept.entry(owner.process.pid).or_insert_with(|| (Arc::clone(&owner.process), 0));
        *descriptors += owner.fds.len() as u64;
    }
}

/// The most first, with what each process has open in all.
fn with_use(kept: &BTreeMap<u32, (Arc<ProcessIdentity>, u64)>, inspector: &Inspector) -> Vec<Kept> {
    let pids: Vec<u32> = kept.keys().copied().collect();
    let mut kept: Vec<Kept> = kept
        .values()
        .zip(inspector.descriptor_use(&pids))
        .map(|((process, descriptors), in_use)| Kept {
            process: Arc::clone(process),
            descriptors: *descriptors,
            fds_used: in_use.used,
            fds_limit: in_use.limit,
        })
        .collect();
    kept.sort_by_key(|kept| Reverse(kept.descriptors));
    kept
}
