//! What stays in CLOSE_WAIT add up to: by process, peer, stack and verdict, over time, and by length. Bounded:
//! nothing here grows with the length of a recording.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use hdrhistogram::CreationError;

use super::{
    bounded::BoundedCounts,
    cast::{Cast, Session},
    durations::Durations,
    episode::Episode,
    series::Series,
    side::Peer,
};
use crate::model::{record::EndedHow, verdict::Verdict};

/// Peers kept of all processes together, and of each; stacks kept of each.
const ALL_PEERS: usize = 4_096;
const PEERS_OF_ONE: usize = 64;
const STACKS_OF_ONE: usize = 64;
const ALL_STACKS: usize = 4_096;

/// Sockets that can be shown one by one.
pub(crate) const MOST_WORST: usize = 200;

/// What counts as stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    /// After this long in CLOSE_WAIT, in nanoseconds.
    pub ns: u64,
    /// Asked for: it holds for what a session reported by a threshold of its own, too.
    pub is_asked_for: bool,
}

/// The part of the time that is looked at, in nanoseconds since 1970; the ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// From then on.
    pub from_ns: i64,
    /// Until then.
    pub to_ns: i64,
}

impl Window {
    /// All of it.
    pub(crate) const ALL: Self = Self { from_ns: i64::MIN, to_ns: i64::MAX };

    /// Whether a moment is in it.
    pub(crate) fn contains(self, at_ns: i64) -> bool {
        (self.from_ns..=self.to_ns).contains(&at_ns)
    }
}

/// Stuck sockets, and how many of them were still stuck at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// All that were stuck at some time.
    pub ever: u64,
    /// Those that were when last looked at.
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
pub(crate) struct OfProcess {
    /// Its sockets.
    pub stuck: Stuck,
    /// The longest stay, in nanoseconds.
    pub longest_ns: u64,
    /// How many sockets had which verdict.
    pub verdicts: BTreeMap<Option<Verdict>, u64>,
    /// Towards whom.
    pub peers: BoundedCounts<Peer>,
    /// Opened where, by index of the stack.
    pub stacks: BoundedCounts<u32>,
    /// Changes of the number of sockets, each counted under its first holder only.
    pub changes: Series,
}

impl Default for OfProcess {
    fn default() -> Self {
        Self {
            stuck: Stuck::default(),
            longest_ns: 0,
            verdicts: BTreeMap::new(),
            peers: BoundedCounts::new(PEERS_OF_ONE),
            stacks: BoundedCounts::new(STACKS_OF_ONE),
            changes: Series::default(),
        }
    }
}

/// One of the longest stays.
#[derive(Clone, Debug)]
pub(crate) struct Worst {
    /// How long, in nanoseconds, as far as is known.
    pub duration_ns: u64,
    /// Whether it had not ended when last looked at.
    pub is_open: bool,
    /// The stay.
    pub episode: Episode,
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Worst {}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key =
            |worst: &Self| (worst.duration_ns, Reverse(worst.episode.start_ns), worst.episode.socket.cookie);
        key(self).cmp(&key(other))
    }
}

/// The sums.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// Stays in CLOSE_WAIT, however short.
    pub stays: u64,
    /// Those that were stuck.
    pub stuck: Stuck,
    /// Legitimate half-closes, which are not counted as stuck.
    pub half_open: u64,
    /// Stuck sockets that nobody could be named for when they were looked at.
    pub unattributed: Stuck,
    /// Stuck sockets whose holder was not looked for.
    pub not_looked_at: Stuck,
    /// Stuck sockets of processes for which there was no room.
    pub of_others: Stuck,
    /// By process, in the order of [`Cast::processes`].
    pub processes: Vec<OfProcess>,
    /// By verdict, of those that were looked at.
    pub verdicts: BTreeMap<Option<Verdict>, Stuck>,
    /// By peer.
    pub peers: BoundedCounts<Peer>,
    /// By index of the stack that opened them; only those whose stack is known.
    pub stacks: BoundedCounts<u32>,
    /// How stays ended that were stuck.
    pub ends: BTreeMap<Option<EndedHow>, u64>,
    /// Lengths of stays that were not stuck.
    pub passing: Durations,
    /// Of those that were, and ended.
    pub ended: Durations,
    /// Of those that still were when last looked at: as far as they had come.
    pub open: Durations,
    /// Stays that began before they could be seen: they were longer than is counted.
    pub began_unseen: u64,
    /// Changes of the number of sockets that were not stuck.
    pub passing_changes: Series,
    /// Of stuck sockets without a known holder.
    pub unknown_changes: Series,
    /// Of stuck sockets of processes for which there was no room.
    pub other_changes: Series,
    /// The longest stays of stuck sockets; the shortest of them on top.
    pub worst: BinaryHeap<Reverse<Worst>>,
}

impl Sums {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never: see [`Durations::new`].
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            stays: 0,
            stuck: Stuck::default(),
            half_open: 0,
            unattributed: Stuck::default(),
            not_looked_at: Stuck::default(),
            of_others: Stuck::default(),
            processes: Vec::new(),
            verdicts: BTreeMap::new(),
            peers: BoundedCounts::new(ALL_PEERS),
            stacks: BoundedCounts::new(ALL_STACKS),
            ends: BTreeMap::new(),
            passing: Durations::new()?,
            ended: Durations::new()?,
            open: Durations::new()?,
            began_unseen: 0,
            passing_changes: Series::default(),
            unknown_changes: Series::default(),
            other_changes: Series::default(),
            worst: BinaryHeap::new(),
        })
    }

    /// Adds a stay that is over, or one that is not as of the end of its session. What lies outside of the window is
    /// left out. One that is not over is drawn until `pad_ns` after its session's end, so that the last step shows it.
    pub(crate) fn add(
        &mut self,
        episode: &Episode,
        cast: &Cast,
        threshold: Threshold,
        window: Window,
        pad_ns: i64,
    ) {
        let Some(session) = cast.sessions.get(episode.session as usize) else { return };
        let last_ns = session.last_ns.max(episode.start_ns);
        let end_ns = episode.end.as_ref().map_or(last_ns, |end| end.at_ns).max(episode.start_ns);
        if episode.start_ns > window.to_ns || end_ns < window.from_ns {
            return;
        }
        let duration_ns = end_ns.abs_diff(episode.start_ns);
        // A later session of the host that does not speak of it has shown that it is over.
        let is_open = match &episode.end {
            Some(end) => end.at_ns > window.to_ns,
            None => !cast.is_superseded(episode.session),
        };
        self.stays += 1;
        self.began_unseen += u64::from(!episode.start_is_exact);
        let report = episode.report.as_ref();
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
            self.add_stuck(episode, cast, session, duration_ns, is_open);
        }
        let changes = self.changes(episode, is_stuck);
        let from_ns = episode.start_ns.max(session.first_ns).max(window.from_ns);
        changes.add(from_ns, 1);
        let until_ns = if is_open { end_ns.saturating_add(pad_ns) } else { end_ns };
        changes.add(until_ns.max(from_ns), -1);
    }

    fn add_stuck(
        &mut self,
        episode: &Episode,
        cast: &Cast,
        session: &Session,
        duration_ns: u64,
        is_open: bool,
    ) {
        self.stuck.count(is_open);
        let report = episode.report.as_ref();
        let verdict = report.and_then(|report| report.verdict);
        if report.is_some() {
            self.verdicts.entry(verdict).or_default().count(is_open);
        }
        let opened = report.and_then(|report| report.opened.map(|(how, _)| how));
        let Some(host) = cast.hosts.get(session.host as usize) else { return };
        let peer = host.sides.peer(&episode.socket.endpoints, opened);
        self.peers.add(&peer, 0);
        let stack = report.and_then(|report| report.stack);
        if let Some(stack) = stack {
            self.stacks.add(&stack, 0);
        }
        if !is_open {
            let how = episode.end.as_ref().and_then(|end| end.how);
            *self.ends.entry(how).or_default() += 1;
        }
        match report {
            None => self.not_looked_at.count(is_open),
            Some(report) if report.holders.first().is_none() => self.unattributed.count(is_open),
            Some(report) => {
                if report.holders.iter().any(|holder| holder.process.is_none()) {
                    self.of_others.count(is_open);
                }
                for index in report.holders.iter().filter_map(|holder| holder.process) {
                    let process = self.process(index);
                    let Some(process) = process else { continue };
                    process.stuck.count(is_open);
                    process.longest_ns = process.longest_ns.max(duration_ns);
                    *process.verdicts.entry(verdict).or_default() += 1;
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
            self.worst.push(Reverse(Worst { duration_ns, is_open, episode: episode.clone() }));
            if self.worst.len() > MOST_WORST {
                self.worst.pop();
            }
        }
    }

    fn process(&mut self, index: u32) -> Option<&mut OfProcess> {
        let index = index as usize;
        if index >= self.processes.len() {
            self.processes.resize_with(index + 1, OfProcess::default);
        }
        self.processes.get_mut(index)
    }

    /// The series that a stay is drawn in.
    fn changes(&mut self, episode: &Episode, is_stuck: bool) -> &mut Series {
        if !is_stuck {
            return &mut self.passing_changes;
        }
        let first = episode.report.as_ref().and_then(|report| report.holders.first());
        match first.map(|holder| holder.process) {
            None => &mut self.unknown_changes,
            Some(None) => &mut self.other_changes,
            Some(Some(index)) => {
                // Twice, because the borrow of the one must not outlive the other.
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
