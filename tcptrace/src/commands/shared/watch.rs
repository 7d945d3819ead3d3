//! Follows the sockets in CLOSE_WAIT through a live session: which are stuck, who holds them, how they
//! end, and the sums at the end. Hands out records; writes nothing.

mod hand_overs;

use std::{sync::Arc, time::Duration};

use super::{
    error::CommandError,
    outlook::Outlook,
    records::leak_record,
    sockets::{CloseWaitTable, Departure, NextStep, entry::GroupId},
    tally::Tally,
    use_sampling::{MOST_ASKED, UseSampling},
};
use crate::{
    host::{clock::WallClock, world::World},
    inspect::{
        tables::Tables,
        thread::{Answer, InspectorGone, InspectorThread},
    },
    kernel::CallMemory,
    model::{
        close_wait::Preexisting,
        coverage::{Coverage, Extent},
        criteria::Criteria,
        ended::EndedHow,
        escape::EscapedName,
        finding::Finding,
        owner::{Evidence, Owner},
        process::{DescriptorUse, ProcessIdentity, ProcessUse},
        record::{Age, LeakEnd, Record, Summary, Totals},
        socket::Identity,
        state::State,
        transition::Transition,
        units::{Elapsed, in_nanoseconds},
        verdict::{UnknownBecause, Verdict},
    },
};

/// Sockets looked at in one go.
const BATCH: usize = 10_000;

/// The inspector rests for this many times as long as it took to answer: on a host with very many descriptors it takes
/// a quarter of a processor at most, unless it takes very long.
const REST: u64 = 3;
const MAX_REST_NS: u64 = 2_000_000_000;

/// How sockets in CLOSE_WAIT are followed. The session's criteria say which.
#[derive(Clone, Debug)]
pub(crate) struct WatchOptions {
    /// Sockets followed at once.
    pub max_sockets: usize,
}

/// A socket that was written to within the threshold is still in use; the threshold is taken as given between one
/// second and one minute.
fn active_window_ms(threshold: Duration) -> u64 {
    u64::try_from(threshold.as_millis()).unwrap_or(u64::MAX).clamp(1_000, 60_000)
}

/// Starts the thread that looks at sockets which are stuck after `threshold`.
///
/// # Errors
/// When the host lacks what finding owners needs.
pub(crate) fn start_inspector(
    world: &World,
    tables: Tables,
    threshold: Duration,
    calls: Option<CallMemory>,
) -> Result<InspectorThread, CommandError> {
    InspectorThread::start(world.clone(), tables, active_window_ms(threshold), calls)
        .map_err(|source| CommandError::System { what: "start a thread", source })
}

/// The sockets in CLOSE_WAIT, and the thread that looks at them.
pub(crate) struct Watch<'a> {
    /// Which sockets are wanted; one is stuck after `older_than` in CLOSE_WAIT. The kernel side filters transitions;
    /// sockets that were there first are filtered here.
    criteria: &'a Criteria,
    table: CloseWaitTable,
    tally: Tally,
    inspector: InspectorThread,
    /// When processes with stuck sockets are asked what they have left.
    sampling: UseSampling,
    /// When the tally was sampled last.
    sampled_ns: u64,
    /// When the inspector was asked last, and before when it is not asked again (CLOCK_MONOTONIC, nanoseconds).
    asked_ns: u64,
    rests_until_ns: u64,
    /// Whether descriptors whose connections are over are to be looked for.
    is_recheck_due: bool,
    /// That the table was full was said.
    has_warned: bool,
    /// What could not be looked at when the sockets were listed that were there first; `None` until then.
    looked_at_first: Option<Coverage>,
    /// Whether the holder of a stuck socket is not known, because not every process could be read.
    has_unread_holder: bool,
}

/// How the process that grows the fastest will fare.
struct Forecast<'a> {
    process: &'a ProcessIdentity,
    outlook: &'a Outlook,
    now_ns: u64,
}

impl Forecast<'_> {
    /// `+5.9/min shop (812)`, and when it has none left of what it uses up.
    fn parts(&self) -> [String; 2] {
        let Self { process, outlook, now_ns } = *self;
        let rate = outlook.per_minute(now_ns).map(|rate| format!("{rate:+.1}/min ")).unwrap_or_default();
        let ProcessUse { descriptors: DescriptorUse { used, limit }, queue } = outlook.latest();
        let descriptors = || match (outlook.fds_run_out_in_ns(now_ns), used, limit) {
            (Some(left), _, _) => format!("fds out in {}", Elapsed(left)),
            (None, Some(used), Some(limit)) => format!("{used}/{limit} fds"),
            _ => String::new(),
        };
        let left = match (queue, outlook.queue_full_in_ns(now_ns)) {
            (Some(_), Some(0)) => "accept queue full".to_owned(),
            (Some(_), Some(left)) => format!("accept queue full in {}", Elapsed(left)),
            (Some(queue), None) => format!("{}/{} wait for accept()", queue.length, queue.limit),
            (None, _) => descriptors(),
        };
        [format!("{rate}{} ({})", EscapedName(&process.comm), process.pid), left]
    }
}

impl<'a> Watch<'a> {
    /// Begins, with a tracer that is attached: what the kernel lists from now on was there first, or is
    /// seen coming.
    pub(crate) fn start(
        options: &WatchOptions,
        criteria: &'a Criteria,
        identity: Identity,
        mut inspector: InspectorThread,
    ) -> Self {
        inspector.ask_for_preexisting();
        let threshold_ns = in_nanoseconds(criteria.older_than);
        let table = CloseWaitTable::new(identity, threshold_ns, options.max_sockets);
        let tally = Tally::default();
        Self {
            criteria,
            table,
            tally,
            inspector,
            sampling: UseSampling::default(),
            sampled_ns: 0,
            asked_ns: 0,
            rests_until_ns: 0,
            is_recheck_due: false,
            has_warned: false,
            looked_at_first: None,
            has_unread_holder: false,
        }
    }

    /// Takes a transition of a socket that is wanted; the end of a reported socket, if it is one.
    pub(crate) fn observe(&mut self, transition: &Transition, clock: WallClock) -> Option<LeakEnd> {
        let left = self.table.observe(transition)?;
        let group_id = left.group_id?;
        let end = self.end(&left, group_id, transition, clock);
        self.tally.end(group_id, left.since, transition.ktime_ns);
        Some(end)
    }

    fn end(&self, left: &Departure, group_id: GroupId, transition: &Transition, clock: WallClock) -> LeakEnd {
        let how = how_it_ended(transition);
        // close(), shutdown() and exit() run in the process's own context, so here the on-CPU task is the one, if it is no worker
        // of the kernel's.
        let is_by_a_process = matches!(how, EndedHow::Closed | EndedHow::OwnerExited | EndedHow::ShutDown)
            && !transition.oncpu.is_kernel_worker();
        let closed_by = is_by_a_process.then(|| {
            let task = transition.oncpu;
            let process = self
                .tally
                .owner(group_id, task.pid)
                .unwrap_or_else(|| Arc::new(ProcessIdentity::from_name(task.pid, &task.comm.to_text())));
            Owner { process, fds: Vec::new(), inherited: None, evidence: Evidence::None }
        });
        LeakEnd {
            time: clock.at(transition.ktime_ns),
            // Its interface may have got a name since.
            socket: left.socket.named(),
            age: Age::at(left.since, transition.ktime_ns),
            how: Some(how),
            closed_by,
        }
    }

    /// Waits for what the thread that looks at sockets has found.
    ///
    /// # Errors
    /// When that thread has ended.
    pub(crate) async fn answer(&mut self) -> Result<Answer, InspectorGone> {
        self.inspector.answer().await
    }

    /// Takes an answer; the records that come of it.
    pub(crate) fn take_answer(&mut self, answer: Answer, clock: WallClock, now_ns: u64) -> Vec<Record> {
        if matches!(answer, Answer::Findings(_) | Answer::HeldOver(_)) {
            let took_ns = now_ns.saturating_sub(self.asked_ns);
            self.rests_until_ns = now_ns.saturating_add(took_ns.saturating_mul(REST).min(MAX_REST_NS));
        }
        match answer {
            Answer::Preexisting(sockets, mut coverage) => {
                coverage.restrict(&self.criteria.netns, false);
                super::coverage::list(&coverage);
                if coverage.extent() != Extent::Everything {
                    log::warn!("of the sockets that were there first: {}", coverage.to_record());
                }
                self.looked_at_first = Some(coverage);
                for preexisting in &sockets {
                    if self.criteria.admits_socket(&preexisting.socket) {
                        self.table.add_preexisting(preexisting);
                    }
                }
                self.table.preexisting_complete();
                Vec::new()
            }
            Answer::Findings(findings) => {
                findings.iter().filter_map(|finding| self.settle(finding, clock)).collect()
            }
            Answer::HeldOver(held) => {
                if let Some(held) = held {
                    self.update_over(&held, now_ns);
                }
                Vec::new()
            }
            Answer::ProcessUse { found, took_ns } => {
                let (asked, asked_ns) = self.sampling.answered(took_ns);
                for (query, found) in asked.iter().zip(&found) {
                    self.tally.note_use(query, found, asked_ns);
                }
                Vec::new()
            }
        }
    }

    /// Takes the descriptors whose connections are over: no transition tells that they were closed, or that both sides
    /// had called shutdown().
    fn update_over(&mut self, held: &[Preexisting], now_ns: u64) {
        let held: Vec<Preexisting> =
            held.iter().filter(|held| self.criteria.admits_socket(&held.socket)).copied().collect();
        for left in self.table.update_over(&held) {
            if let Some(group_id) = left.group_id {
                self.tally.end(group_id, left.since, now_ns);
            }
        }
    }

    /// Has the descriptors looked for whose connections are over; called every ten seconds or so.
    pub(crate) fn begin_recheck(&mut self) {
        self.is_recheck_due = true;
    }

    /// Whether the inspector has nothing to do, and has rested.
    fn may_ask(&self, now_ns: u64) -> bool {
        !self.inspector.is_busy() && now_ns >= self.rests_until_ns
    }

    fn settle(&mut self, finding: &Finding, clock: WallClock) -> Option<Record> {
        if !self.table.is_being_looked_at(finding.key) {
            // It left while it was looked at: its end has been seen. Where its connection is over and a descriptor stays,
            // that is due by itself.
            return None;
        }
        self.has_unread_holder |=
            finding.is_stuck && finding.unknown_because == Some(UnknownBecause::ProcessesNotRead);
        let next = if !finding.is_stuck && finding.state == State::LastAck {
            // This side shut it down, and the peer has not confirmed it yet.
            NextStep::LookAgain(finding.looked_at_ns + active_window_ms(self.criteria.older_than) * 1_000_000)
        } else if !finding.is_stuck {
            NextStep::Gone
        } else if finding.verdict == Some(Verdict::HalfOpen) {
            NextStep::LookAgain(finding.looked_at_ns + active_window_ms(self.criteria.older_than) * 1_000_000)
        } else if !self.criteria.admits_owners(&finding.owners) {
            NextStep::Ignored
        } else {
            self.table.learn(finding.key, &finding.socket);
            NextStep::Reported(match self.table.reported_before(finding.key) {
                Some(before) => self.tally.report_again(finding, before),
                None => self.tally.report(finding),
            })
        };
        self.table.settle(finding.key, next);
        matches!(next, NextStep::Reported(_)).then(|| Record::Leak(Box::new(leak_record(finding, clock))))
    }

    /// Has the processes with the most stuck sockets asked what they have left, if it is time, else the sockets looked at
    /// that have come due; called every 100 ms or so.
    pub(crate) fn look(&mut self, now_ns: u64) {
        if !self.may_ask(now_ns) || self.ask_for_use(now_ns) {
            return;
        }
        self.asked_ns = now_ns;
        if std::mem::take(&mut self.is_recheck_due) {
            self.inspector.ask_for_held_over();
            return;
        }
        let due = self.table.take_due(now_ns, BATCH);
        if !due.is_empty() {
            self.inspector.ask_about(due);
        }
    }

    /// Asks if it is time, and if there is anybody to ask.
    fn ask_for_use(&mut self, now_ns: u64) -> bool {
        let queries =
            if self.sampling.is_due(now_ns) { self.tally.queries_of_most(MOST_ASKED) } else { Vec::new() };
        let is_asked = !queries.is_empty();
        if is_asked {
            self.inspector.ask_for_use(queries.clone());
            self.sampling.ask(queries, now_ns);
        }
        is_asked
    }

    /// Says once that the table was full.
    fn warn_if_full(&mut self) {
        if self.table.evicted() > 0 && !std::mem::replace(&mut self.has_warned, true) {
            log::warn!(
                "more sockets are in CLOSE_WAIT than --max-sockets lets follow: all numbers are lower bounds"
            );
        }
    }

    /// Notes how many sockets are stuck; called about once a second.
    pub(crate) fn sample(&mut self, now_ns: u64) {
        self.warn_if_full();
        self.sampled_ns = now_ns;
        self.tally.sample(now_ns);
    }

    fn forecast(&self) -> Option<Forecast<'_>> {
        let now_ns = self.sampled_ns;
        self.tally.steepest(now_ns).map(|(process, outlook)| Forecast { process, outlook, now_ns })
    }

    /// What the status line says of it, the most important first; with so many sockets that have come a moment ago.
    pub(crate) fn status(&self, arrivals: usize) -> Vec<String> {
        let least = if self.table.evicted() > 0 { "at least " } else { "" };
        let mut parts = vec![format!("{least}{} stuck", self.tally.still_stuck())];
        parts.extend(self.forecast().into_iter().flat_map(|forecast| forecast.parts()));
        parts.push(format!("{} in CLOSE_WAIT", self.table.len() + arrivals));
        parts
    }

    /// Lets the thread finish what it is at; the records that come of it.
    ///
    /// # Errors
    /// When that thread has ended.
    pub(crate) async fn finish_looking(
        &mut self,
        clock: WallClock,
        now_ns: u64,
    ) -> Result<Vec<Record>, CommandError> {
        let mut records = Vec::new();
        while self.inspector.is_busy() {
            let answer = self.inspector.answer().await?;
            records.extend(self.take_answer(answer, clock, now_ns));
        }
        // What came due while the inspector rested.
        let due = self.table.take_due(now_ns, BATCH);
        if !due.is_empty() {
            self.inspector.ask_about(due);
            let answer = self.inspector.answer().await?;
            records.extend(self.take_answer(answer, clock, now_ns));
        }
        // For the sums: descriptors that were closed after their connections count no more.
        if self.table.reported_over() > 0 {
            self.inspector.ask_for_held_over();
            let answer = self.inspector.answer().await?;
            records.extend(self.take_answer(answer, clock, now_ns));
        }
        Ok(records)
    }

    /// Sums up at the end of the session (CLOCK_MONOTONIC, nanoseconds), when nothing is being looked
    /// at any more. Returns whether a leak was found, and how much was looked at of what was there first and of who
    /// holds what was found.
    ///
    /// # Errors
    /// When the thread that looks at processes has ended.
    pub(crate) async fn sum_up(
        &mut self,
        summary: &mut Summary,
        ended_ns: u64,
    ) -> Result<(bool, Extent), CommandError> {
        self.warn_if_full();
        let uses = self.last_use(ended_ns).await?;
        let Totals { evicted, unattributed, .. } = &mut summary.totals;
        // The kernel's table and this one lack the same sockets.
        *evicted = self.table.evicted().max(*evicted);
        *unattributed = self.tally.unattributed();
        summary.in_close_wait = Some(self.table.len() as u64);
        summary.connections_over = Some(self.table.reported_over() as u64);
        summary.more_processes = self.tally.forgotten();
        summary.sockets = Some(self.tally.reported());
        summary.still_stuck = Some(self.tally.still_stuck());
        summary.processes = self.tally.summary(self.table.reported(), &uses, ended_ns);
        if self.has_unread_holder {
            log::warn!(
                "who holds some of the sockets is not known, because not every process could be read: it takes \
                 CAP_SYS_PTRACE, without BTF CAP_DAC_READ_SEARCH too, and /proc of the host's pid namespace"
            );
        }
        let looked_at_first = self.looked_at_first.as_ref();
        summary.not_looked_at = looked_at_first.map(Coverage::to_record);
        let extent = looked_at_first.map_or(Extent::Part, |first| match first.extent() {
            Extent::Everything if self.table.evicted() > 0 || self.has_unread_holder => Extent::Part,
            Extent::Everything => Extent::Everything,
            // What came later was seen.
            Extent::Part | Extent::Nothing => Extent::Part,
        });
        Ok((self.tally.reported() > 0, extent))
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
        (true, _) if transition.new_state == State::LastAck && cause.is_some_and(|cause| cause.is_over) => {
            EndedHow::ShutDown
        }
        (true, _) if cause.is_some_and(|cause| cause.oncpu_exiting) => EndedHow::OwnerExited,
        (true, _) => EndedHow::Closed,
        // Where the kernel side cannot read the error, a reset is by far the most frequent.
        (false, error) => EndedHow::of_error(error).unwrap_or(EndedHow::Reset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{examples, transition::Cause};

    fn ended(new_state: State, cause: Option<Cause>) -> EndedHow {
        let old_state = State::CloseWait;
        how_it_ended(&Transition { old_state, new_state, cause, ..examples::transition() })
    }

    #[test]
    fn the_state_and_the_error_tell_how_it_ended() {
        let cause = |error, oncpu_exiting| Some(Cause { error, oncpu_exiting, is_over: false });
        assert_eq!(ended(State::LastAck, cause(0, false)), EndedHow::Closed);
        assert_eq!(ended(State::LastAck, None), EndedHow::Closed);
        assert_eq!(ended(State::LastAck, cause(0, true)), EndedHow::OwnerExited);
        let is_kept = Some(Cause { error: 0, oncpu_exiting: false, is_over: true });
        assert_eq!(ended(State::LastAck, is_kept), EndedHow::ShutDown, "the descriptor stays");
        // Unread data: close() resets at once.
        assert_eq!(ended(State::Close, cause(0, false)), EndedHow::Closed);
        assert_eq!(ended(State::Close, cause(0, true)), EndedHow::OwnerExited);
        assert_eq!(ended(State::Close, cause(32, false)), EndedHow::Reset);
        assert_eq!(ended(State::Close, cause(103, false)), EndedHow::Destroyed);
        assert_eq!(ended(State::Close, cause(110, false)), EndedHow::TimedOut);
        assert_eq!(ended(State::Close, None), EndedHow::Reset);
    }
}
