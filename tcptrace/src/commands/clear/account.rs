//! The account of a `clear` session: the chosen sockets, the plan, and the outcomes. Ends nothing.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use rustc_hash::FxHashMap;

use super::{
    act::{ClearTarget, TargetOutcome},
    methods::Methods,
};
use crate::{
    commands::shared::{sockets::entry::GroupId, tally::Tally},
    host::{
        clock::{Clocks, WallClock},
        world::World,
    },
    inspect::{inspector::Inspector, snapshot::HostSnapshot},
    model::{
        clearing::{Outcome, Refusal},
        criteria::Choice,
        finding::Finding,
        owner::{Evidence, Owner},
        pid::Pid,
        process::{ProcessIdentity, UseQuery},
        record::{
            Age, Scope, Summary, Totals,
            cleared::{Actor, ClearEnd, ClearPlan, Cleared, Kept, LeftOut, Outcomes, Selection},
        },
        state::State,
    },
};

/// The chosen sockets and their outcomes so far.
pub(crate) struct Account {
    selection: Arc<Selection>,
    actor: Arc<Actor>,
    clocks: Clocks,
    clock: WallClock,
    started_ns: u64,
    /// Oldest first.
    targets: Vec<ClearTarget>,
    /// One per target.
    group_ids: Vec<GroupId>,
    tally: Tally,
    outcomes: Outcomes,
    refusals: FxHashMap<Refusal, u64>,
    /// Descriptors that stay open, by process.
    kept: BTreeMap<Pid, (Arc<ProcessIdentity>, u64)>,
    left_out: LeftOut,
    scope: Scope,
    listed: u64,
    in_close_wait: Option<u64>,
}

impl Account {
    /// Chooses sockets from a snapshot.
    pub(crate) fn choose(
        selection: &Selection,
        found: HostSnapshot,
        methods: Methods,
        world: &World,
        started_ns: u64,
    ) -> Self {
        let HostSnapshot { findings, namespaces, processes, coverage, source: _ } = found;
        let admitted = || findings.iter().filter(|finding| selection.criteria.passes_filters(finding));
        let listed = admitted().count() as u64;
        let is_close_wait = |finding: &&Finding| finding.state == State::CloseWait;
        let in_close_wait = admitted().filter(is_close_wait).count() as u64;
        let mut left_out = LeftOut::default();
        let mut chosen: Vec<Finding> = findings
            .into_iter()
            .filter(|finding| match selection.criteria.judge(finding) {
                Choice::Chosen => true,
                Choice::Other => false,
                Choice::TooYoung => {
                    left_out.too_young += 1;
                    false
                }
                Choice::AgeHidden => {
                    left_out.age_hidden += 1;
                    false
                }
                Choice::StillUsed => {
                    left_out.still_used += 1;
                    false
                }
            })
            .collect();
        // The cookie makes the order stable.
        chosen.sort_by_key(|finding| (Reverse(finding.likely_age_ns()), finding.socket.cookie));
        let limit = selection.limit.unwrap_or(usize::MAX);
        left_out.beyond_limit = chosen.len().saturating_sub(limit) as u64;
        chosen.truncate(limit);
        let mut tally = Tally::default();
        let group_ids = chosen.iter().map(|finding| tally.report(finding)).collect();
        let targets = chosen
            .into_iter()
            .map(|finding| ClearTarget { method: methods.for_socket(&finding), finding })
            .collect();
        let states = selection.criteria.states;
        Self {
            selection: Arc::new(selection.clone()),
            actor: Arc::new(actor()),
            clocks: world.clocks.clone(),
            clock: world.clocks.wall(),
            started_ns,
            targets,
            group_ids,
            tally,
            outcomes: Outcomes::default(),
            refusals: FxHashMap::default(),
            kept: BTreeMap::new(),
            left_out,
            scope: Scope {
                states,
                namespaces: namespaces as u64,
                processes: processes as u64,
                not_looked_at: coverage.to_record(),
            },
            listed,
            in_close_wait: states.contains(State::CloseWait).then_some(in_close_wait),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// How many sockets there are whose age has to be found out by watching them.
    pub(crate) fn hidden_ages(&self) -> u64 {
        self.left_out.age_hidden
    }

    /// Refusals, with the number of sockets.
    pub(crate) fn refusals(&self) -> &FxHashMap<Refusal, u64> {
        &self.refusals
    }

    pub(crate) fn plan(&mut self, inspector: &mut Inspector) -> ClearPlan {
        let mut kept = BTreeMap::new();
        let mut shared = 0;
        let mut planned = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            let outcome = Outcome::DryRun(target.method.clone().err());
            if target.method.is_ok() {
                keep(&mut kept, &target.finding);
            }
            let is_stranger = |owner: &Owner| {
                owner.evidence == Evidence::FdTable
                    && !self.selection.criteria.admits_owners(std::slice::from_ref(owner))
            };
            shared += u64::from(target.finding.owners.iter().any(is_stranger));
            planned.push(self.record(target, outcome, target.finding.looked_at_ns));
        }
        self.outcomes = Outcomes { dry_run: planned.len() as u64, ..Outcomes::default() };
        ClearPlan {
            planned,
            shared,
            left_out: self.left_out,
            scope: self.scope.clone(),
            duration_ns: self.clocks.monotonic_ns().saturating_sub(self.started_ns),
            kept: with_use(&kept, inspector),
        }
    }

    /// Counts the outcome of a target and returns its record.
    pub(crate) fn settle(
        &mut self,
        target: &ClearTarget,
        group_id: GroupId,
        result: TargetOutcome,
    ) -> Cleared {
        let TargetOutcome { outcome, at_ns } = result;
        self.outcomes.count(&outcome);
        match &outcome {
            Outcome::Gone | Outcome::Closing(_) => {
                keep(&mut self.kept, &target.finding);
                self.tally.end(group_id, target.finding.since, at_ns);
                if target.finding.state == State::CloseWait {
                    self.in_close_wait = self.in_close_wait.map(|count| count.saturating_sub(1));
                }
            }
            Outcome::Refused(refusal) => *self.refusals.entry(refusal.clone()).or_default() += 1,
            Outcome::Changed(_) | Outcome::DryRun(_) => {}
        }
        self.record(target, outcome, at_ns)
    }

    /// Takes all targets with their groups, by network namespace.
    pub(crate) fn take_targets(&mut self) -> BTreeMap<Option<u32>, Vec<(ClearTarget, GroupId)>> {
        self.outcomes = Outcomes::default();
        let mut by_netns: BTreeMap<Option<u32>, Vec<(ClearTarget, GroupId)>> = BTreeMap::new();
        for (target, group_id) in std::mem::take(&mut self.targets).into_iter().zip(&self.group_ids) {
            by_netns.entry(target.finding.socket.netns).or_default().push((target, *group_id));
        }
        by_netns
    }

    fn record(&self, target: &ClearTarget, outcome: Outcome, at_ns: u64) -> Cleared {
        let ClearTarget { finding, method } = target;
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
            other_end: finding.other_end.clone(),
            unknown_because: finding.unknown_because,
            because: finding.because.clone(),
        }
    }

    pub(crate) fn end(&mut self, inspector: &mut Inspector) -> ClearEnd {
        let ended_ns = self.clocks.monotonic_ns();
        let uses = inspector.process_use(&self.tally.queries());
        let totals =
            Totals { records: self.listed, unattributed: self.tally.unattributed(), ..Totals::default() };
        let summary = Summary {
            time: self.clock.at(ended_ns),
            duration_ns: ended_ns.saturating_sub(self.started_ns),
            totals,
            in_close_wait: self.in_close_wait,
            more_processes: self.tally.forgotten(),
            processes: self.tally.summary(std::iter::empty(), &uses, ended_ns),
            connections_over: None,
            sockets: None,
            still_stuck: None,
            not_looked_at: Some(self.scope.not_looked_at.clone()),
        };
        ClearEnd { summary, outcomes: self.outcomes, kept: with_use(&self.kept, inspector) }
    }
}

/// The user who runs this process.
fn actor() -> Actor {
    let sudo_user = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    Actor { pid: std::process::id(), uid: rustix::process::getuid().as_raw(), sudo_user }
}

/// Counts the descriptors of a socket for each process that holds it.
fn keep(kept: &mut BTreeMap<Pid, (Arc<ProcessIdentity>, u64)>, finding: &Finding) {
    for owner in finding.owners.iter().filter(|owner| owner.evidence == Evidence::FdTable) {
        let (_, descriptors) =
            kept.entry(owner.process.pid).or_insert_with(|| (Arc::clone(&owner.process), 0));
        *descriptors += owner.fds.len() as u64;
    }
}

/// Most descriptors first, with each process's total and limit.
fn with_use(kept: &BTreeMap<Pid, (Arc<ProcessIdentity>, u64)>, inspector: &mut Inspector) -> Vec<Kept> {
    let query = |(process, _): &(Arc<ProcessIdentity>, u64)| UseQuery {
        pid: process.pid,
        start_ticks: process.start_ticks,
        listens_at: Vec::new(),
    };
    let queries: Vec<UseQuery> = kept.values().map(query).collect();
    let mut kept: Vec<Kept> = kept
        .values()
        .zip(inspector.process_use(&queries))
        .map(|((process, descriptors), in_use)| Kept {
            process: Arc::clone(process),
            descriptors: *descriptors,
            fds_used: in_use.descriptors.used,
            fds_limit: in_use.descriptors.limit,
        })
        .collect();
    kept.sort_by_key(|kept| Reverse(kept.descriptors));
    kept
}
