//! Sums over stays in CLOSE_WAIT: by process, peer, stack and verdict, over time, and by length. Bounded: nothing here
//! grows with the length of a recording.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use hdrhistogram::CreationError;

use super::{
    bounded::BoundedCounts,
    durations::DurationHistogram,
    entities::{Entities, RecordedSession},
    later_look::is_superseded,
    series::TimeSeries,
    side::Peer,
    stay::Stay,
};
use crate::model::{ended::EndedHow, reason::ReasonId, verdict::Verdict};

/// Peers and stacks kept in all, and for each process.
const ALL_PEERS: usize = 4_096;
const PEERS_OF_ONE: usize = 64;
const STACKS_OF_ONE: usize = 64;
const ALL_STACKS: usize = 4_096;

/// Sets of processes with common sockets that are kept. A program that forks has one for all of its workers.
const HOLDER_SETS: usize = 1_024;

/// Sockets that can be shown one by one.
pub(crate) const MOST_WORST: usize = 200;

/// What counts as stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    /// After this long in CLOSE_WAIT, in nanoseconds.
    pub ns: u64,
    /// Given by the user, so it also applies to sockets that a session reported by its own threshold.
    pub is_asked_for: bool,
}

/// The time the report covers, in nanoseconds since 1970, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub from_ns: i64,
    pub to_ns: i64,
}

impl Window {
    pub(crate) const ALL: Self = Self { from_ns: i64::MIN, to_ns: i64::MAX };

    pub(crate) fn contains(self, at_ns: i64) -> bool {
        (self.from_ns..=self.to_ns).contains(&at_ns)
    }
}

/// Stuck sockets, and how many of them stayed stuck to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// All that were stuck at some time.
    pub ever: u64,
    /// Those that were stuck when last seen.
    pub still: u64,
}

impl Stuck {
    fn count(&mut self, is_still_stuck: bool) {
        self.ever += 1;
        self.still += u64::from(is_still_stuck);
    }
}

/// What one process held.
#[derive(Clone, Debug)]
pub(crate) struct ProcessSums {
    pub stuck: Stuck,
    /// The longest stay, in nanoseconds.
    pub longest_ns: u64,
    /// Sockets by verdict.
    pub verdicts: BTreeMap<Option<Verdict>, u64>,
    /// Sockets by most telling reason, where reasons were recorded.
    pub reasons: BTreeMap<ReasonId, u64>,
    pub peers: BoundedCounts<Peer>,
    /// By index of the stack that opened them.
    pub stacks: BoundedCounts<u32>,
    /// Changes in the number of sockets; a socket counts for its first holder only.
    pub changes: TimeSeries,
}

impl Default for ProcessSums {
    fn default() -> Self {
        Self {
            stuck: Stuck::default(),
            longest_ns: 0,
            verdicts: BTreeMap::new(),
            reasons: BTreeMap::new(),
            peers: BoundedCounts::new(PEERS_OF_ONE),
            stacks: BoundedCounts::new(STACKS_OF_ONE),
            changes: TimeSeries::default(),
        }
    }
}

/// One of the longest stays.
#[derive(Clone, Debug)]
pub(crate) struct LongestStay {
    /// In nanoseconds, as far as known.
    pub duration_ns: u64,
    /// Whether it was still open when last seen.
    pub is_open: bool,
    /// Whether its host has later sessions, none of which looked for it.
    pub is_left: bool,
    pub stay: Stay,
}

impl PartialEq for LongestStay {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for LongestStay {}

impl PartialOrd for LongestStay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LongestStay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |worst: &Self| (worst.duration_ns, Reverse(worst.stay.start_ns), worst.stay.socket.cookie);
        key(self).cmp(&key(other))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// All stays, however short.
    pub stays: u64,
    pub stuck: Stuck,
    /// Of those stuck when last seen, how many a later session of the host did not look for.
    pub not_looked_at_again: u64,
    /// Legitimate half-closes, which do not count as stuck.
    pub half_open: u64,
    /// Stuck sockets whose holder was looked up and not found.
    pub unattributed: Stuck,
    /// Stuck sockets whose holder was not looked up.
    pub not_looked_at: Stuck,
    /// Stuck sockets of processes beyond the limit.
    pub of_others: Stuck,
    /// In the order of [`Entities::processes`].
    pub processes: Vec<ProcessSums>,
    /// Stuck sockets that several processes hold, by the ascending indices of those processes.
    pub shared: BoundedCounts<Box<[u32]>>,
    /// Sockets by verdict, of those with a holder looked up.
    pub verdicts: BTreeMap<Option<Verdict>, Stuck>,
    /// The same, by verdict and most telling reason, where reasons were recorded.
    pub reasons: BTreeMap<(Option<Verdict>, ReasonId), Stuck>,
    pub peers: BoundedCounts<Peer>,
    /// By index of the opening stack, where known.
    pub stacks: BoundedCounts<u32>,
    /// How stuck stays ended.
    pub ends: BTreeMap<Option<EndedHow>, u64>,
    /// Lengths of stays that were not stuck.
    pub passing: DurationHistogram,
    /// Lengths of stuck stays that ended.
    pub ended: DurationHistogram,
    /// Lengths so far of stuck stays that did not end.
    pub open: DurationHistogram,
    /// Stays that began unseen: their lengths are lower bounds.
    pub began_unseen: u64,
    /// Changes in the number of sockets that were not stuck.
    pub passing_changes: TimeSeries,
    /// The same, of stuck sockets without a known holder.
    pub unknown_changes: TimeSeries,
    /// Of stuck sockets of processes for which there was no room.
    pub other_changes: TimeSeries,
    /// The longest stuck stays, the shortest of them on top.
    pub worst: BinaryHeap<Reverse<LongestStay>>,
}

impl Sums {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never: see [`DurationHistogram::new`].
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            stays: 0,
            stuck: Stuck::default(),
            not_looked_at_again: 0,
            half_open: 0,
            unattributed: Stuck::default(),
            not_looked_at: Stuck::default(),
            of_others: Stuck::default(),
            processes: Vec::new(),
            shared: BoundedCounts::new(HOLDER_SETS),
            verdicts: BTreeMap::new(),
            reasons: BTreeMap::new(),
            peers: BoundedCounts::new(ALL_PEERS),
            stacks: BoundedCounts::new(ALL_STACKS),
            ends: BTreeMap::new(),
            passing: DurationHistogram::new()?,
            ended: DurationHistogram::new()?,
            open: DurationHistogram::new()?,
            began_unseen: 0,
            passing_changes: TimeSeries::default(),
            unknown_changes: TimeSeries::default(),
            other_changes: TimeSeries::default(),
            worst: BinaryHeap::new(),
        })
    }

    /// Adds a stay; an open one as of the end of its session. Stays outside the window are left out. An open
    /// stay is drawn until `pad_ns` after the end of its session, so that the last step shows it.
    pub(crate) fn add(
        &mut self,
        stay: &Stay,
        entities: &Entities,
        threshold: Threshold,
        window: Window,
        pad_ns: i64,
    ) {
        let Some(session) = entities.sessions.get(stay.session as usize) else { return };
        let last_ns = session.last_ns.max(stay.start_ns);
        let end_ns = stay.end.as_ref().map_or(last_ns, |end| end.at_ns).max(stay.start_ns);
        if stay.start_ns > window.to_ns || end_ns < window.from_ns {
            return;
        }
        let duration_ns = end_ns.abs_diff(stay.start_ns);
        let is_open = match &stay.end {
            Some(end) => end.at_ns > window.to_ns,
            None => !is_superseded(stay, entities),
        };
        self.stays += 1;
        self.began_unseen += u64::from(!stay.start_is_exact);
        let report = stay.report.as_ref();
        let is_half_open = report.is_some_and(|report| report.verdict == Some(Verdict::HalfOpen));
        let is_long = duration_ns >= threshold.ns || (report.is_some() && !threshold.is_asked_for);
        self.half_open += u64::from(is_half_open);
        let is_stuck = is_long && !is_half_open;
        let durations = match (is_stuck, is_open) {
            (false, _) => &mut self.passing,
            (true, false) => &mut self.ended,
            (true, true) => &mut self.open,
        };
        durations.add(duration_ns);
        if is_stuck {
            self.add_stuck(stay, entities, session, duration_ns, is_open);
        }
        let changes = self.changes(stay, is_stuck);
        let from_ns = stay.start_ns.max(session.first_ns).max(window.from_ns);
        changes.add(from_ns, 1);
        let until_ns = if is_open { end_ns.saturating_add(pad_ns) } else { end_ns };
        changes.add(until_ns.max(from_ns), -1);
    }

    fn add_stuck(
        &mut self,
        stay: &Stay,
        entities: &Entities,
        session: &RecordedSession,
        duration_ns: u64,
        is_open: bool,
    ) {
        let is_left = is_open && stay.end.is_none() && entities.has_later_session(stay.session);
        self.stuck.count(is_open);
        self.not_looked_at_again += u64::from(is_left);
        let report = stay.report.as_ref();
        let verdict = report.and_then(|report| report.verdict);
        let reason = report.and_then(|report| report.reason);
        if let Some(reason) = reason {
            self.reasons.entry((verdict, reason)).or_default().count(is_open);
        }
        if report.is_some() {
            self.verdicts.entry(verdict).or_default().count(is_open);
        }
        let opened = report.and_then(|report| report.opened.map(|(how, _)| how));
        let Some(host) = entities.hosts.get(session.host as usize) else { return };
        let peer = host.sides.peer(&stay.socket.endpoints, opened);
        self.peers.add(&peer, 0);
        let stack = report.and_then(|report| report.stack);
        if let Some(stack) = stack {
            self.stacks.add(&stack, 0);
        }
        if !is_open {
            let how = stay.end.as_ref().and_then(|end| end.how);
            *self.ends.entry(how).or_default() += 1;
        }
        match report {
            None => self.not_looked_at.count(is_open),
            Some(report) if report.holders.first().is_none() => self.unattributed.count(is_open),
            Some(report) => {
                if report.holders.iter().any(|holder| holder.process.is_none()) {
                    self.of_others.count(is_open);
                }
                if report.holders.iter().nth(1).is_some() {
                    let indices = report.holders.iter().filter_map(|holder| holder.process);
                    let set: BTreeSet<u32> = indices.collect();
                    if set.len() > 1 {
                        self.shared.add(&set.into_iter().collect(), 0);
                    }
                }
                for index in report.holders.iter().filter_map(|holder| holder.process) {
                    let process = self.process(index);
                    let Some(process) = process else { continue };
                    process.stuck.count(is_open);
                    process.longest_ns = process.longest_ns.max(duration_ns);
                    *process.verdicts.entry(verdict).or_default() += 1;
                    if let Some(reason) = reason {
                        *process.reasons.entry(reason).or_default() += 1;
                    }
                    process.peers.add(&peer, 0);
                    if let Some(stack) = stack {
                        process.stacks.add(&stack, 0);
                    }
                }
            }
        }
        if self.worst.len() < MOST_WORST
            || self.worst.peek().is_some_and(|Reverse(least)| least.duration_ns < duration_ns)
        {
            self.worst.push(Reverse(LongestStay { duration_ns, is_open, is_left, stay: stay.clone() }));
            if self.worst.len() > MOST_WORST {
                self.worst.pop();
            }
        }
    }

    fn process(&mut self, index: u32) -> Option<&mut ProcessSums> {
        let index = index as usize;
        if index >= self.processes.len() {
            self.processes.resize_with(index + 1, ProcessSums::default);
        }
        self.processes.get_mut(index)
    }

    /// The series that a stay counts in.
    fn changes(&mut self, stay: &Stay, is_stuck: bool) -> &mut TimeSeries {
        if !is_stuck {
            return &mut self.passing_changes;
        }
        let first = stay.report.as_ref().and_then(|report| report.holders.first());
        match first.map(|holder| holder.process) {
            None => &mut self.unknown_changes,
            Some(None) => &mut self.other_changes,
            Some(Some(index)) => {
                // Looked up twice for the borrow checker.
                if self.process(index).is_none() {
                    return &mut self.other_changes;
                }
                match self.processes.get_mut(index as usize) {
                    Some(process) => &mut process.changes,
                    None => &mut self.other_changes,
                }
            }
        }
    }
}
