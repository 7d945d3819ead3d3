//! Sums up a session's findings by process. Pure; bounded.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use rustc_hash::FxHashMap;

use super::{outlook::Outlook, sockets::entry::GroupId};
use crate::model::{
    close_wait::Since,
    endpoints::Endpoint,
    finding::Finding,
    no_site::NoSiteBecause,
    owner::Owner,
    pid::Pid,
    process::{ProcessIdentity, ProcessUse, UseQuery},
    reason::{Reason, ReasonId},
    record::{PeerCount, ProcessSummary, ReasonCount, StackCount},
    socket::Socket,
    stack::Stack,
    verdict::Verdict,
};

/// Peers counted one by one for each process; a remote host must not be able to fill memory.
const MAX_PEERS: usize = 1024;

/// Listeners of which the queue is looked at, for each process.
const MAX_LISTENERS: usize = 8;

/// Lines of code counted one by one for each process.
const MAX_SITES: usize = 256;

/// Processes kept of those that hold nothing stuck any more; beyond, the one with the fewest sockets is forgotten. Of
/// those that do there are as many as the host has.
const MAX_PROCESSES: usize = 1024;

/// The start distinguishes a process from a later one with the same pid.
type ProcessKey = (Pid, Option<i64>);

/// Sockets that were reported with the same owners and the same verdict share a group; its number is
/// the `GroupId` that the table of sockets keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OwnerGroup {
    processes: Vec<u32>,
    verdict: Option<Verdict>,
}

#[derive(Debug)]
struct ProcessTally {
    process: Arc<ProcessIdentity>,
    reported: u64,
    still_stuck: u64,
    outlook: Outlook,
    oldest_ns: u64,
    verdicts: FxHashMap<Verdict, u64>,
    /// How many sockets had which verdict and most telling reason, with the reasons of the first in words.
    reasons: FxHashMap<(Verdict, Option<ReasonId>), (u64, String)>,
    /// By address as the remote host chose it: a map that withstands chosen keys.
    peers: HashMap<Endpoint, u64>,
    /// How many sockets were opened at which line of code, or why that is not known, with the first stack that had it.
    stacks: HashMap<Option<String>, (Arc<Stack>, u64)>,
    /// Where it listens and does not accept, with the network namespace; bounded.
    listens_at: Vec<(u32, Endpoint)>,
    /// The groups it is in.
    groups: Vec<GroupId>,
}

impl ProcessTally {
    fn query(&self) -> UseQuery {
        let ProcessIdentity { pid, start_ticks, .. } = *self.process;
        UseQuery { pid, start_ticks, listens_at: self.listens_at.clone() }
    }

    /// Notes the listener of a socket that was never accepted.
    fn listens_for(&mut self, socket: &Socket) {
        let Some(netns) = socket.netns else { return };
        let at = (netns, socket.endpoints.local);
        if self.listens_at.len() < MAX_LISTENERS && !self.listens_at.contains(&at) {
            self.listens_at.push(at);
        }
    }

    /// Counts a socket by the line that opened it, whatever lies above and below it on the stack.
    fn opened_at(&mut self, stack: &Arc<Stack>) {
        let line = stack.title().map(Cow::into_owned);
        if self.stacks.len() < MAX_SITES || self.stacks.contains_key(&line) {
            self.stacks.entry(line).or_insert_with(|| (Arc::clone(stack), 0)).1 += 1;
        }
    }
}

/// The sums of a session.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    processes: Vec<ProcessTally>,
    by_key: FxHashMap<ProcessKey, u32>,
    groups: Vec<OwnerGroup>,
    by_group: HashMap<OwnerGroup, GroupId>,
    /// Ids of groups that are no more.
    free: Vec<GroupId>,
    forgotten: u64,
    reported: u64,
    still_stuck: u64,
    unattributed: u64,
    /// When the numbers of stuck sockets were noted last.
    sampled_ns: Option<u64>,
}

impl Tally {
    /// Notes how many sockets are stuck now; called about once a second.
    pub(crate) fn sample(&mut self, now_ns: u64) {
        self.sampled_ns = Some(now_ns);
        for tally in &mut self.processes {
            tally.outlook.note_stuck(now_ns, tally.still_stuck);
        }
    }

    /// Of which processes is to be asked what they have left: those with the most stuck sockets.
    pub(crate) fn queries_of_most(&self, most: usize) -> Vec<UseQuery> {
        let mut stuck: Vec<&ProcessTally> =
            self.processes.iter().filter(|tally| tally.still_stuck > 0).collect();
        stuck.sort_by_key(|tally| std::cmp::Reverse(tally.still_stuck));
        stuck.into_iter().take(most).map(ProcessTally::query).collect()
    }

    /// Notes what a process had left when it was asked.
    pub(crate) fn note_use(&mut self, query: &UseQuery, found: &ProcessUse, now_ns: u64) {
        let index = self.by_key.get(&(query.pid, query.start_ticks));
        if let Some(tally) = index.and_then(|index| self.processes.get_mut(*index as usize)) {
            tally.outlook.note_use(now_ns, found);
        }
    }

    /// Sockets that were reported.
    pub(crate) fn reported(&self) -> u64 {
        self.reported
    }

    /// Of these, how many are in CLOSE_WAIT still. A socket that several processes hold is one.
    pub(crate) fn still_stuck(&self) -> u64 {
        self.still_stuck
    }

    /// Reported sockets for which nobody could be named.
    pub(crate) fn unattributed(&self) -> u64 {
        self.unattributed
    }

    /// Processes that were forgotten, because there were too many and nothing of theirs is stuck.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Counts a reported socket; the group to keep with it.
    pub(crate) fn report(&mut self, finding: &Finding) -> GroupId {
        self.count(finding, None)
    }

    /// As [`Tally::report`], of a socket that was reported before and ended as one of that group: its connection is over
    /// now, or others have it. It is one socket, and those who held it before have it in their sums.
    pub(crate) fn report_again(&mut self, finding: &Finding, before: GroupId) -> GroupId {
        self.count(finding, Some(before))
    }

    fn count(&mut self, finding: &Finding, before: Option<GroupId>) -> GroupId {
        let before = before.map(|group_id| self.groups.get(group_id as usize).cloned());
        self.still_stuck += 1;
        if before.is_none() {
            self.reported += 1;
            self.unattributed += u64::from(finding.owners.is_empty());
        }
        let age_ns = finding.likely_age_ns();
        let mut processes = Vec::with_capacity(finding.owners.len());
        for owner in &finding.owners {
            let index = self.process(owner);
            let Some(tally) = self.processes.get_mut(index as usize) else { continue };
            processes.push(index);
            tally.still_stuck += 1;
            tally.oldest_ns = tally.oldest_ns.max(age_ns);
            if before.iter().flatten().any(|before| before.processes.contains(&index)) {
                continue;
            }
            tally.reported += 1;
            if let Some(verdict) = finding.verdict {
                *tally.verdicts.entry(verdict).or_default() += 1;
                let cause = (verdict, finding.because.first().map(|reason| reason.id));
                let words = || (0, in_words(&finding.because));
                tally.reasons.entry(cause).or_insert_with(words).0 += 1;
            }
            let peer = finding.socket.endpoints.remote;
            if tally.peers.len() < MAX_PEERS || tally.peers.contains_key(&peer) {
                *tally.peers.entry(peer).or_default() += 1;
            }
            if let Some(stack) = finding.opening_stack().filter(|stack| is_counted(stack)) {
                tally.opened_at(&stack);
            }
            if finding.verdict == Some(Verdict::NeverAccepted) {
                tally.listens_for(&finding.socket);
            }
        }
        let group = OwnerGroup { processes, verdict: finding.verdict };
        if let Some(group_id) = self.by_group.get(&group) {
            return *group_id;
        }
        let group_id = match self.free.pop() {
            Some(group_id) => group_id,
            None => GroupId::try_from(self.groups.len()).unwrap_or(GroupId::MAX),
        };
        for index in &group.processes {
            if let Some(tally) = self.processes.get_mut(*index as usize) {
                tally.groups.push(group_id);
            }
        }
        match self.groups.get_mut(group_id as usize) {
            Some(place) => *place = group.clone(),
            None => self.groups.push(group.clone()),
        }
        self.by_group.insert(group, group_id);
        group_id
    }

    fn process(&mut self, owner: &Owner) -> u32 {
        let key = (owner.process.pid, owner.process.start_ticks);
        if let Some(index) = self.by_key.get(&key) {
            // The name may have changed by exec: the present one counts.
            if let Some(tally) = self.processes.get_mut(*index as usize) {
                tally.process = Arc::clone(&owner.process);
            }
            return *index;
        }
        let tally = ProcessTally {
            process: Arc::clone(&owner.process),
            reported: 0,
            still_stuck: 0,
            outlook: Outlook::since(self.sampled_ns),
            oldest_ns: 0,
            verdicts: FxHashMap::default(),
            reasons: FxHashMap::default(),
            peers: HashMap::new(),
            stacks: HashMap::new(),
            listens_at: Vec::new(),
            groups: Vec::new(),
        };
        let index = self.place();
        self.forget(index);
        match self.processes.get_mut(index) {
            Some(place) => *place = tally,
            None => self.processes.push(tally),
        }
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.by_key.insert(key, index);
        index
    }

    /// The place for another process: a new one, or that of the process with the fewest sockets of those that
    /// hold nothing stuck any more.
    fn place(&self) -> usize {
        let new = self.processes.len();
        if new < MAX_PROCESSES {
            return new;
        }
        let idle = self.processes.iter().enumerate().filter(|(_, tally)| tally.still_stuck == 0);
        idle.min_by_key(|(_, tally)| tally.reported).map_or(new, |(index, _)| index)
    }

    /// Forgets the process at this place, if there is one, and its groups: no socket has their ids, since
    /// none is stuck.
    fn forget(&mut self, index: usize) {
        let Some(tally) = self.processes.get_mut(index) else { return };
        self.forgotten += 1;
        self.by_key.remove(&(tally.process.pid, tally.process.start_ticks));
        for group_id in std::mem::take(&mut tally.groups) {
            let Some(group) = self.groups.get(group_id as usize) else { continue };
            self.by_group.remove(group);
            for other in &group.processes {
                if let Some(tally) = self.processes.get_mut(*other as usize) {
                    tally.groups.retain(|of_other| *of_other != group_id);
                }
            }
            self.free.push(group_id);
        }
    }

    /// Counts a reported socket that left CLOSE_WAIT at `now_ns`.
    pub(crate) fn end(&mut self, group_id: GroupId, since: Since, now_ns: u64) {
        let Some(group) = self.groups.get(group_id as usize) else { return };
        self.still_stuck = self.still_stuck.saturating_sub(1);
        for index in &group.processes {
            if let Some(tally) = self.processes.get_mut(*index as usize) {
                tally.still_stuck = tally.still_stuck.saturating_sub(1);
                tally.oldest_ns = tally.oldest_ns.max(since.age_at(now_ns).0);
            }
        }
    }

    /// Whether one of the processes for which this holds, in the order of [`Tally::queries`], is an owner of this group.
    pub(crate) fn has_owner(&self, group_id: GroupId, is_one: impl Fn(usize) -> bool) -> bool {
        let group = self.groups.get(group_id as usize);
        group.is_some_and(|group| group.processes.iter().any(|index| is_one(*index as usize)))
    }

    /// The process with this pid, if it is one of the owners of this group of sockets.
    pub(crate) fn owner(&self, group_id: GroupId, pid: Pid) -> Option<Arc<ProcessIdentity>> {
        let group = self.groups.get(group_id as usize)?;
        group
            .processes
            .iter()
            .filter_map(|index| self.processes.get(*index as usize))
            .find(|tally| tally.process.pid == pid)
            .map(|tally| Arc::clone(&tally.process))
    }

    /// The process whose stuck sockets become more the fastest, with its outlook.
    pub(crate) fn steepest(&self, now_ns: u64) -> Option<(&ProcessIdentity, &Outlook)> {
        self.processes
            .iter()
            .filter_map(|tally| Some((tally, tally.outlook.per_minute(now_ns)?)))
            .filter(|(_, rate)| *rate > 0.0)
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(tally, _)| (tally.process.as_ref(), &tally.outlook))
    }

    /// Asks of all processes, in the order of [`Tally::summary`]'s argument.
    pub(crate) fn queries(&self) -> Vec<UseQuery> {
        self.processes.iter().map(ProcessTally::query).collect()
    }

    /// Sums up. `stuck` are the sockets that are stuck still; `uses` the answers to [`Tally::queries`].
    pub(crate) fn summary(
        &mut self,
        stuck: impl Iterator<Item = (Socket, Since, GroupId)>,
        uses: &[ProcessUse],
        now_ns: u64,
    ) -> Vec<ProcessSummary> {
        for (_, since, group_id) in stuck {
            let Some(group) = self.groups.get(group_id as usize) else { continue };
            for index in &group.processes {
                if let Some(tally) = self.processes.get_mut(*index as usize) {
                    tally.oldest_ns = tally.oldest_ns.max(since.age_at(now_ns).0);
                }
            }
        }
        for (tally, found) in self.processes.iter_mut().zip(uses) {
            tally.outlook.note_use(now_ns, found);
        }
        let mut summary: Vec<ProcessSummary> =
            self.processes.iter().map(|tally| sum_up(tally, now_ns)).collect();
        summary.sort_by_key(|process| {
            std::cmp::Reverse((process.still_stuck, process.sockets, process.oldest_ns))
        });
        summary
    }
}

/// The most telling reasons of one socket.
fn in_words(because: &[Reason]) -> String {
    const NAMED: usize = 2;
    because.iter().take(NAMED).map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
}

fn sum_up(tally: &ProcessTally, now_ns: u64) -> ProcessSummary {
    let mut verdicts: Vec<(Verdict, u64)> =
        tally.verdicts.iter().map(|(verdict, count)| (*verdict, *count)).collect();
    verdicts.sort_by_key(|(verdict, count)| (std::cmp::Reverse(*count), *verdict));
    let mut peers: Vec<PeerCount> =
        tally.peers.iter().map(|(peer, count)| PeerCount { peer: *peer, count: *count }).collect();
    peers.sort_by_key(|peer| (std::cmp::Reverse(peer.count), peer.peer));
    let mut stacks: Vec<StackCount> = tally
        .stacks
        .values()
        .map(|(stack, count)| StackCount { stack: Arc::clone(stack), count: *count })
        .collect();
    stacks.sort_by(|a, b| (b.count, &a.stack.frames).cmp(&(a.count, &b.stack.frames)));
    let count = |((verdict, id), (count, text)): (&(Verdict, Option<ReasonId>), &(u64, String))| {
        ReasonCount { verdict: *verdict, id: *id, count: *count, text: text.clone() }
    };
    let mut reasons: Vec<ReasonCount> = tally.reasons.iter().map(count).collect();
    reasons.sort_by_key(|reason| (std::cmp::Reverse(reason.count), reason.verdict, reason.id));
    let outlook = &tally.outlook;
    let ProcessUse { descriptors, queue } = outlook.latest();
    ProcessSummary {
        process: Arc::clone(&tally.process),
        sockets: tally.reported,
        still_stuck: tally.still_stuck,
        oldest_ns: tally.oldest_ns,
        per_minute: outlook.per_minute(now_ns),
        verdicts,
        peers,
        stacks,
        fds_used: descriptors.used,
        fds_limit: descriptors.limit,
        fds_run_out_in_ns: outlook.fds_run_out_in_ns(now_ns),
        fds_per_minute: outlook.fds_per_minute(now_ns),
        accept_queue: queue.map(|queue| u64::from(queue.length)),
        accept_queue_limit: queue.map(|queue| u64::from(queue.limit)),
        accept_queue_full_in_ns: outlook.queue_full_in_ns(now_ns),
        command: tally.process.command(),
        reasons: Some(reasons),
    }
}

/// A look at what is there counts no lines: it sees none.
fn is_counted(stack: &Stack) -> bool {
    stack.no_site.as_ref().is_none_or(|no_site| no_site.because != NoSiteBecause::LooksOnce)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::model::{examples, owner::OpenedBy, state::State, task::OpenedHow};

    fn since() -> Since {
        Since::within(None, 0)
    }

    /// A stuck socket of these processes.
    fn held_by(pids: &[u32]) -> Finding {
        let owner = |pid: &u32| Owner {
            process: Arc::new(ProcessIdentity::from_name(Pid::new(*pid), "worker")),
            ..examples::owner()
        };
        Finding {
            owners: pids.iter().map(owner).collect(),
            ..examples::finding(State::CloseWait, since(), 0)
        }
    }

    fn pids(tally: &Tally) -> Vec<u32> {
        let mut pids: Vec<Pid> = tally.queries().iter().map(|query| query.pid).collect();
        pids.sort_unstable();
        pids.into_iter().filter_map(Pid::visible).collect()
    }

    #[test]
    fn a_socket_that_is_reported_again_when_its_connection_is_over_is_one_socket() {
        let mut tally = Tally::default();
        let group_id = tally.report(&held_by(&[1]));
        tally.end(group_id, since(), 0);
        let over = Finding { verdict: Some(Verdict::ConnectionOver), ..held_by(&[1, 2]) };
        let group_id = tally.report_again(&over, group_id);
        assert_eq!((tally.reported(), tally.still_stuck()), (1, 1));
        let sums = |tally: &mut Tally| -> Vec<(u64, u64)> {
            let processes = tally.summary(std::iter::empty(), &[], 0);
            processes.iter().map(|process| (process.sockets, process.still_stuck)).collect()
        };
        assert_eq!(sums(&mut tally), [(1, 1), (1, 1)], "who has it by now, too");
        tally.end(group_id, since(), 0);
        assert_eq!(sums(&mut tally), [(1, 0), (1, 0)]);
    }

    #[test]
    fn of_many_processes_those_with_stuck_sockets_are_kept_and_of_the_others_those_with_the_most() {
        let mut tally = Tally::default();
        let stuck = tally.report(&held_by(&[1]));
        // Two sockets, one of them together with the next, and all closed.
        for owners in [&[2][..], &[2, 3]] {
            let group_id = tally.report(&held_by(owners));
            tally.end(group_id, since(), 0);
        }
        let count = 10 * u32::try_from(MAX_PROCESSES).unwrap();
        for pid in 10..10 + count {
            let group_id = tally.report(&held_by(&[pid]));
            assert_eq!(tally.owner(group_id, Pid::new(pid)).map(|process| process.pid), Some(Pid::new(pid)));
            tally.end(group_id, since(), 0);
        }
        let kept = pids(&tally);
        assert_eq!(kept.len(), MAX_PROCESSES);
        assert_eq!(tally.forgotten(), u64::from(count) + 3 - MAX_PROCESSES as u64);
        assert_eq!(kept[..2], [1, 2], "one that holds a socket still, and one that held two");
        assert!(tally.groups.len() <= MAX_PROCESSES + 2, "{} groups", tally.groups.len());
        assert_eq!(tally.reported(), u64::from(count) + 3);
        // The id that is out is still that of its owner.
        assert_eq!(tally.owner(stuck, Pid::new(1)).map(|process| process.pid), Some(Pid::new(1)));
        let summary = tally.summary(std::iter::empty(), &[], 0);
        let first = summary.first().unwrap();
        assert_eq!((first.process.pid, first.still_stuck), (Pid::new(1), 1));
        tally.end(stuck, since(), 0);
        assert!(tally.processes.iter().all(|process| process.still_stuck == 0));
    }

    #[test]
    fn all_that_hold_something_are_kept_however_many() {
        let count = u32::try_from(2 * MAX_PROCESSES).unwrap();
        let mut tally = Tally::default();
        let group_ids: Vec<(u32, GroupId)> =
            (1..=count).map(|pid| (pid, tally.report(&held_by(&[pid])))).collect();
        assert_eq!((tally.queries().len(), tally.forgotten()), (2 * MAX_PROCESSES, 0));
        for (pid, group_id) in group_ids {
            assert_eq!(tally.owner(group_id, Pid::new(pid)).map(|process| process.pid), Some(Pid::new(pid)));
        }
    }

    #[test]
    fn a_socket_counts_once_in_every_total_whoever_holds_it() {
        let mut tally = Tally::default();
        let shared = tally.report(&held_by(&[1, 2, 3, 4]));
        tally.report(&held_by(&[1, 2, 3, 4]));
        let nobodys = tally.report(&held_by(&[]));
        assert_eq!((tally.reported(), tally.still_stuck(), tally.unattributed()), (3, 3, 1));
        tally.end(shared, since(), 0);
        assert_eq!((tally.reported(), tally.still_stuck()), (3, 2));
        tally.end(nobodys, since(), 0);
        assert_eq!((tally.reported(), tally.still_stuck()), (3, 1));
        let summary = tally.summary(std::iter::empty(), &[], 0);
        let stuck: Vec<_> = summary.iter().map(|process| (process.sockets, process.still_stuck)).collect();
        assert_eq!(stuck, [(2, 1); 4], "to each of the four");
    }

    #[test]
    fn sockets_opened_at_one_line_are_one_group_whatever_else_is_on_the_stack() {
        let mut tally = Tally::default();
        let opened = |site: Option<&str>, frames: &[&str]| {
            let frames = frames.iter().map(|frame| (*frame).to_owned()).collect();
            let stack =
                Stack { frames, site: site.map(str::to_owned), is_cut: false, no_site: None, found_by: None };
            let mut called = examples::called_by().what;
            called.stack = Some(Arc::new(stack));
            let opened_by = Some(OpenedBy { how: OpenedHow::Accept, called });
            Finding { opened_by, ..held_by(&[1]) }
        };
        for finding in [
            opened(Some("serve (main.go:12)"), &["accept4", "serve (main.go:12)", "main"]),
            opened(Some("serve (main.go:12)"), &["accept4", "serve (main.go:12)", "retry", "main"]),
            opened(Some("serve (main.go:12)"), &["__accept4_cancel", "serve (main.go:12)"]),
            opened(Some("dial (main.go:40)"), &["connect", "dial (main.go:40)"]),
            // Without a line of the application, the innermost frame is the line.
            opened(None, &["accept4", "one"]),
            opened(None, &["accept4", "other"]),
        ] {
            tally.report(&finding);
        }
        let summary = tally.summary(std::iter::empty(), &[], 0);
        let stacks: Vec<_> =
            summary[0].stacks.iter().map(|counted| (counted.stack.line(), counted.count)).collect();
        let expected = [("serve (main.go:12)", 3), ("accept4", 2), ("dial (main.go:40)", 1)];
        assert_eq!(stacks, expected.map(|(line, count)| (Some(line), count)));
    }

    #[test]
    fn sockets_without_a_line_are_grouped_by_the_reason() {
        let mut tally = Tally::default();
        for because in [NoSiteBecause::IoUring, NoSiteBecause::LooksOnce, NoSiteBecause::IoUring] {
            tally.report(&Finding { no_site: Some(because.into()), ..held_by(&[1]) });
        }
        let summary = tally.summary(std::iter::empty(), &[], 0);
        let stacks: Vec<_> =
            summary[0].stacks.iter().map(|counted| (counted.stack.no_site.clone(), counted.count)).collect();
        assert_eq!(stacks, [(Some(NoSiteBecause::IoUring.into()), 2)]);
    }
}
