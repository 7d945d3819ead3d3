//! Collects what tells why sockets are stuck, once a process and once a socket, and has `diagnosis::reasons` draw the
//! conclusions. Bounded: what there was no time for gives no reason.

use std::{cmp::Reverse, path::Path, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    accept_queues, awaited,
    descriptors::{BlockedSocket, DescriptorScan},
    dump::ListingIndex,
    full_legs, in_flight, inherited,
    inspector::Inspector,
    legs, proc_fd,
};
use crate::{
    diagnosis::reasons::{
        self, accepting,
        facts::{
            Awaited, BlockedWrite, HolderFacts, InFlight, OtherHolder, OtherLeg, ReasonFacts, WaitingFor,
        },
        generations::takes_over,
    },
    host::socket_units,
    model::{
        connection_side::ConnectionSide,
        doing::{ProcessDoing, ThreadDoing},
        endpoints::Endpoint,
        finding::Finding,
        owner::{Evidence, Owner},
        pid::Pid,
        process::{AcceptQueue, DescriptorUse, ProcessIdentity, UseQuery},
        state::{State, StateSet},
        units::ms_in_ns,
        verdict::Verdict,
    },
    netlink::DiagSocket,
    process::{doing, task_files::lineage},
};

/// Processes whose threads are looked at: those with the most stuck sockets.
const MOST_PROCESSES: usize = 128;

/// Processes whose descriptors are counted, likewise.
const MOST_COUNTED: usize = 4_096;

/// Listeners whose queues are asked for.
const MOST_LISTENERS: usize = 64;

/// The states of a connection that somebody may still write to.
const WITH_DATA: StateSet = StateSet::ESTABLISHED.union(StateSet::CLOSE_WAIT).union(StateSet::FIN_WAIT1);

/// The states of a connection that somebody may hold.
const CONNECTED: StateSet = WITH_DATA.union(StateSet::FIN_WAIT2);

/// A held socket of which the peer's window is closed, while data waits.
struct ClosedWindow {
    holder: (Pid, u32),
    remote: Endpoint,
    bytes: u32,
}

/// Where a socket was accepted, or waits for that.
type ListensAt = (u32, Endpoint);

/// What was found out about the processes and the listeners of one look.
#[derive(Default)]
struct Circumstances {
    /// When the kernel was asked to list the sockets (CLOCK_MONOTONIC, nanoseconds).
    asked_ns: u64,
    doing: FxHashMap<Pid, ProcessDoing>,
    uses: FxHashMap<Pid, DescriptorUse>,
    blocked: FxHashMap<Pid, BlockedWrite>,
    awaited: FxHashMap<Pid, Vec<Awaited>>,
    /// By the index of the finding.
    legs: FxHashMap<usize, OtherLeg>,
    /// Likewise.
    full_legs: FxHashMap<usize, BlockedWrite>,
    waiting: FxHashMap<ListensAt, WaitingFor>,
    /// Later processes of the same program that listen, where the first does not.
    newer: FxHashMap<(ListensAt, Pid), Arc<ProcessIdentity>>,
    /// From whom holders have a socket, by the index of the finding and their pid.
    inherited: FxHashMap<(usize, Pid), Arc<ProcessIdentity>>,
    units: FxHashMap<ListensAt, String>,
    /// Where descriptors wait that are in no table.
    in_flight: Vec<InFlight>,
    /// Processes that hold a connection which was accepted there.
    accepting: FxHashSet<(ListensAt, Pid)>,
    /// Listeners of which that was looked for.
    looked_for: FxHashSet<ListensAt>,
}

impl Inspector {
    /// Adds the reasons, and what their processes have left.
    pub(super) fn explain(&mut self, findings: &mut [Finding], index: &ListingIndex, scan: &DescriptorScan) {
        let processes = by_sockets(findings);
        if !findings.iter().any(is_explained) {
            return;
        }
        let mut known = Circumstances { asked_ns: index.asked_ns(), ..Circumstances::default() };
        self.count_descriptors(&processes, &mut known);
        let visible = looked_at(&processes, findings);
        let tables = &mut self.tables;
        let found = doing::look(self.dumper.world(), &visible, || tables.latest_calls());
        let found = visible.iter().zip(found).filter_map(|(process, doing)| Some((process.pid, doing?)));
        known.doing.extend(found);
        known.find_blocked(self.closed_windows(scan, findings, &known).into_iter());
        known.awaited = awaited::find(self, findings, &known.doing);
        known.legs = legs::find(self, findings, index, scan, &known.doing);
        known.full_legs = full_legs::find(self, findings, index, scan, &known.doing);
        self.find_waiting(findings, &mut known);
        known.put_acceptors_first(findings);
        self.find_accepting(findings, &mut known);
        self.find_newer(findings, scan, &mut known);
        known.inherited = inherited::find(self, findings, scan);
        if findings.iter().any(|finding| is_explained(finding) && is_nobodys(finding)) {
            known.in_flight = in_flight::find(self);
        }
        for (at, finding) in findings.iter_mut().enumerate().filter(|(_, finding)| is_explained(finding)) {
            let listed = index.find(&finding.socket).map(|(_, listed)| listed);
            let side = scan.side(&finding.socket, finding.opened_how(), listed);
            let facts = known.facts(at, finding, listed, side, scan, self);
            let because = reasons::because(&facts);
            finding.descriptors =
                finding.owners.first().and_then(|owner| known.uses.get(&owner.process.pid)).copied();
            finding.because = because;
        }
    }

    fn count_descriptors(&mut self, processes: &[Arc<ProcessIdentity>], known: &mut Circumstances) {
        let counted = processes.get(..MOST_COUNTED).unwrap_or(processes);
        let query = |process: &Arc<ProcessIdentity>| UseQuery {
            pid: process.pid,
            start_ticks: process.start_ticks,
            listens_at: Vec::new(),
        };
        let queries: Vec<UseQuery> = counted.iter().map(query).collect();
        let uses = self.processes.descriptor_use(&queries);
        known.uses.extend(counted.iter().map(|process| process.pid).zip(uses));
    }

    /// Held sockets of which the peer's window is closed: as the kernel's iterator found them or, without it, those that a
    /// thread sleeps in writing to.
    fn closed_windows(
        &mut self,
        scan: &DescriptorScan,
        findings: &[Finding],
        known: &Circumstances,
    ) -> Vec<ClosedWindow> {
        if scan.is_of_kernel() {
            let closed = |blocked: &BlockedSocket| ClosedWindow {
                holder: blocked.holder,
                remote: blocked.socket.endpoints.remote,
                bytes: blocked.bytes,
            };
            return scan.blocked.iter().map(closed).collect();
        }
        let written = known.written_to(&self.dumper.world().proc);
        if written.is_empty() {
            return Vec::new();
        }
        let namespaces: FxHashSet<u32> = findings.iter().filter_map(|finding| finding.socket.netns).collect();
        let listed = self.dumper.list(WITH_DATA, &namespaces).sockets.into_iter();
        listed
            .filter(|(_, socket)| socket.sending.is_some_and(|sending| sending.is_blocked(socket.send_q)))
            .filter_map(|(_, socket)| {
                let holder = *written.get(&socket.inode)?;
                Some(ClosedWindow { holder, remote: socket.remote, bytes: socket.send_q })
            })
            .collect()
    }

    /// Looks at the queues that connections wait in, and since when.
    fn find_waiting(&mut self, findings: &[Finding], known: &mut Circumstances) {
        let mut first: FxHashMap<ListensAt, u64> = FxHashMap::default();
        for finding in findings.iter().filter(|finding| finding.verdict == Some(Verdict::NeverAccepted)) {
            let Some(at) = listens_at(finding) else { continue };
            if first.len() < MOST_LISTENERS || first.contains_key(&at) {
                let age_ns = finding.since.age_at(finding.looked_at_ns).0;
                let oldest = first.entry(at).or_default();
                *oldest = (*oldest).max(age_ns);
                let is_of_systemd = finding.owners.iter().any(|owner| owner.process.pid.visible() == Some(1));
                if is_of_systemd && !known.units.contains_key(&at) {
                    let unit = socket_units::listening_on(&self.dumper.world().root, at.1.port());
                    known.units.extend(unit.map(|unit| (at, unit)));
                }
            }
        }
        let query = |at: &ListensAt| UseQuery { pid: Pid::UNKNOWN, start_ticks: None, listens_at: vec![*at] };
        let places: Vec<ListensAt> = first.keys().copied().collect();
        let queries: Vec<UseQuery> = places.iter().map(query).collect();
        let queues: Vec<Option<AcceptQueue>> = accept_queues::of(&mut self.dumper, &queries);
        for (at, queue) in places.into_iter().zip(queues) {
            let first_for_ns = first.get(&at).copied().unwrap_or_default();
            known.waiting.extend(queue.map(|queue| (at, WaitingFor { queue, first_for_ns })));
        }
    }

    /// Where it seems that nobody accepts: looks for connections that the holders of the listener have accepted there.
    fn find_accepting(&mut self, findings: &[Finding], known: &mut Circumstances) {
        let mut listeners: FxHashMap<ListensAt, FxHashSet<Pid>> = FxHashMap::default();
        for finding in findings.iter().filter(|finding| finding.verdict == Some(Verdict::NeverAccepted)) {
            let Some(at) = listens_at(finding) else { continue };
            let holders = || finding.owners.iter();
            let doing = holders().map(|owner| (known.doing.get(&owner.process.pid), &owner.fds[..]));
            if listeners.len() < MOST_LISTENERS && accepting::wait_elsewhere(doing) {
                listeners.entry(at).or_default().extend(holders().map(|owner| owner.process.pid));
            }
        }
        if listeners.is_empty() {
            return;
        }
        let namespaces: FxHashSet<u32> = listeners.keys().map(|(netns, _)| *netns).collect();
        let mut inodes: FxHashMap<u32, ListensAt> = FxHashMap::default();
        for (netns, socket) in self.dumper.list(CONNECTED, &namespaces).sockets {
            let at = (netns, socket.local);
            if socket.inode != 0 && listeners.contains_key(&at) {
                inodes.insert(socket.inode, at);
            }
        }
        known.looked_for.extend(listeners.keys());
        let pids: FxHashSet<u32> = listeners.values().flatten().filter_map(|pid| pid.visible()).collect();
        for pid in pids {
            for (_, inode) in proc_fd::sockets_of(&self.dumper.world().proc, pid) {
                known.accepting.extend(inodes.get(&inode).map(|at| (*at, Pid::new(pid))));
            }
        }
    }

    /// Looks for those who took over the listener from a holder of accepted sockets.
    fn find_newer(&mut self, findings: &[Finding], scan: &DescriptorScan, known: &mut Circumstances) {
        let mut asked: FxHashSet<(ListensAt, Pid)> = FxHashSet::default();
        for finding in findings.iter().filter(|finding| finding.state == State::CloseWait) {
            let Some(at) = listens_at(finding) else { continue };
            for owner in finding.owners.iter().filter(|owner| owner.evidence == Evidence::FdTable) {
                let process = &owner.process;
                if asked.len() >= MOST_COUNTED || !asked.insert((at, process.pid)) {
                    continue;
                }
                let listeners = scan.listeners_at(&finding.socket);
                if listeners.is_empty() || listeners.contains_key(&process.pid) {
                    continue;
                }
                let listening = self.processes.owners(&listeners, Evidence::Listener, None);
                let proc = &self.dumper.world().proc;
                let is_newer = |listener: &&Owner| {
                    takes_over(&listener.process, process, |process| lineage(proc, process))
                };
                let newer =
                    listening.iter().filter(is_newer).max_by_key(|listener| listener.process.start_ticks);
                known.newer.extend(newer.map(|newer| ((at, process.pid), Arc::clone(&newer.process))));
            }
        }
    }
}

impl Circumstances {
    /// Orders the holders of listeners: those that leave accept() to others, as systemd to a service, come last.
    fn put_acceptors_first(&self, findings: &mut [Finding]) {
        for finding in findings.iter_mut().filter(|finding| finding.verdict == Some(Verdict::NeverAccepted)) {
            let is_of_unit = listens_at(finding).is_some_and(|at| self.units.contains_key(&at));
            finding.owners.sort_by_key(|owner| {
                let pid = owner.process.pid;
                let waits = |doing| accepting::leaves_it_to_others(doing, &owner.fds);
                (is_of_unit && pid.visible() == Some(1)) || self.doing.get(&pid).is_some_and(waits)
            });
        }
    }

    /// Finds the sockets that threads are blocked in writing to, among those of which the peer's window is closed.
    fn find_blocked(&mut self, closed: impl Iterator<Item = ClosedWindow>) {
        for ClosedWindow { holder: (pid, fd), remote, bytes } in closed {
            let Some((doing, number)) = self.doing.get(&pid).zip(pid.visible()) else { continue };
            // Another thread, unless it waits for one of these, may look after the other sockets.
            let writes =
                |thread: &ThreadDoing| thread.call.as_ref().is_some_and(|call| call.writes_to.contains(&fd));
            let waits = |thread: &ThreadDoing| thread.call.as_ref().is_some_and(|call| call.name == "futex");
            let are_all = doing.threads.iter().all(|thread| writes(thread) || waits(thread));
            if are_all && doing.threads.iter().any(writes) {
                let blocked = BlockedWrite { pid: number, fd, remote, bytes, is_leg: false };
                self.blocked.entry(pid).or_insert(blocked);
            }
        }
    }

    /// The sockets that threads sleep in writing to, by their inode numbers.
    fn written_to(&self, proc_root: &Path) -> FxHashMap<u32, (Pid, u32)> {
        let mut written = FxHashMap::default();
        for (pid, doing) in &self.doing {
            let calls = doing.threads.iter().filter_map(|thread| thread.call.as_ref());
            for fd in calls.flat_map(|call| &call.writes_to) {
                let inode = pid.visible().and_then(|number| proc_fd::socket_at(proc_root, number, *fd));
                written.extend(inode.map(|inode| (inode, (*pid, *fd))));
            }
        }
        written
    }

    fn facts<'a>(
        &'a self,
        at: usize,
        finding: &'a Finding,
        listed: Option<&DiagSocket>,
        side: Option<ConnectionSide>,
        scan: &DescriptorScan,
        inspector: &Inspector,
    ) -> ReasonFacts<'a> {
        let cookie = finding.socket.cookie;
        let place = listens_at(finding);
        let holder = |owner: &'a Owner| {
            let pid = owner.process.pid;
            HolderFacts {
                process: owner.process.as_ref(),
                evidence: owner.evidence,
                fds: &owner.fds,
                doing: self.doing.get(&pid),
                descriptors: self.uses.get(&pid).copied().unwrap_or_default(),
                has_accepted: place
                    .filter(|place| self.looked_for.contains(place))
                    .map(|place| self.accepting.contains(&(place, pid))),
                inherited_from: self.inherited.get(&(at, pid)).map(Arc::as_ref),
                newer: place.and_then(|place| self.newer.get(&(place, pid))).map(Arc::as_ref),
                eof_reads_per_second: finding.eof_reads_per_second,
                awaited: self.awaited.get(&pid).map_or(&[], Vec::as_slice),
                socket_unit: place
                    .filter(|_| pid.visible() == Some(1))
                    .and_then(|place| self.units.get(&place))
                    .map(String::as_str),
            }
        };
        let behind =
            finding.owners.iter().filter(|owner| owner.evidence == Evidence::FdTable).find_map(|owner| {
                let blocked = self.blocked.get(&owner.process.pid)?;
                (!owner.fds.contains(&blocked.fd)).then_some(*blocked)
            });
        let has_answered_since_fin =
            cookie.and_then(|cookie| scan.held(cookie)).and_then(|held| held.has_answered_since_fin);
        ReasonFacts {
            verdict: finding.verdict,
            recv_q: finding.recv_q,
            send_q: finding.send_q,
            times: listed.and_then(|listed| listed.times),
            // The FIN counts as one byte.
            has_received: listed.and_then(|listed| Some(listed.received_bytes? > 1)),
            has_sent: listed.and_then(|listed| Some(listed.sent_bytes? > 0)),
            sending: listed.and_then(|listed| listed.sending),
            has_answered_since_fin,
            last_words: cookie.and_then(|cookie| inspector.last_words.get(&cookie)).copied(),
            side,
            holders: finding.owners.iter().map(holder).collect(),
            looked_at_ns: finding.looked_at_ns,
            ended_at_ns: ended_at_ns(finding, has_answered_since_fin, listed, self.asked_ns),
            other_holder: other_holder(finding)
                .map(|process| OtherHolder { process, doing: self.doing.get(&process.pid) }),
            blocked: behind.or_else(|| self.full_legs.get(&at).copied()),
            leg: self.legs.get(&at).cloned(),
            in_flight: if is_nobodys(finding) { &self.in_flight } else { &[] },
            waiting: place
                .filter(|_| finding.verdict == Some(Verdict::NeverAccepted))
                .and_then(|place| self.waiting.get(&place))
                .copied(),
        }
    }
}

/// The processes of which it is looked at what they do: those that answer for stuck sockets and, as far as there is room, those
/// that take no data at the other end.
fn looked_at(processes: &[Arc<ProcessIdentity>], findings: &[Finding]) -> Vec<Arc<ProcessIdentity>> {
    let is_unsent = |finding: &&Finding| finding.send_q.is_some_and(|bytes| bytes > 0);
    let others = findings.iter().filter(is_unsent).filter_map(other_holder);
    let mut known = FxHashSet::default();
    let is_new = |process: &&Arc<ProcessIdentity>| {
        process.pid.visible().is_some_and(|pid| known.len() < MOST_PROCESSES && known.insert(pid))
    };
    processes.iter().chain(others).filter(is_new).cloned().collect()
}

/// The first process that holds the other end of a connection.
fn other_holder(finding: &Finding) -> Option<&Arc<ProcessIdentity>> {
    Some(&finding.other_end.as_ref()?.owners.first()?.process)
}

/// When the peer ended a connection (CLOCK_MONOTONIC, nanoseconds), at the earliest: it was seen doing so, or nothing has
/// come since. Where the kernel does not show that: it was asked for nothing since.
fn ended_at_ns(
    finding: &Finding,
    has_answered_since_fin: Option<bool>,
    listed: Option<&DiagSocket>,
    asked_ns: u64,
) -> Option<u64> {
    if finding.since.is_exact() {
        return Some(finding.since.at_latest_ns());
    }
    let listed = listed?;
    let times = listed.times?;
    let is_quiet = || !listed.keeps_alive && times.last_data_sent_ms >= times.last_ack_recv_ms;
    let came_last = has_answered_since_fin.map_or_else(is_quiet, |has_answered| !has_answered);
    came_last.then(|| asked_ns.saturating_sub(ms_in_ns(times.last_ack_recv_ms)))
}

/// Whether reasons are looked for.
fn is_explained(finding: &Finding) -> bool {
    finding.is_stuck && matches!(finding.state, State::CloseWait | State::Close)
}

/// Whether nobody was found who has it; who opened it may have it no longer.
fn is_nobodys(finding: &Finding) -> bool {
    finding.owners.iter().all(|owner| owner.evidence == Evidence::Opened)
}

fn listens_at(finding: &Finding) -> Option<ListensAt> {
    Some((finding.socket.netns?, finding.socket.endpoints.local))
}

/// The processes that answer for stuck sockets, those with the most of them first.
fn by_sockets(findings: &[Finding]) -> Vec<Arc<ProcessIdentity>> {
    let mut counts: FxHashMap<Pid, (u64, &Arc<ProcessIdentity>)> = FxHashMap::default();
    for finding in findings.iter().filter(|finding| is_explained(finding)) {
        for owner in &finding.owners {
            counts.entry(owner.process.pid).or_insert((0, &owner.process)).0 += 1;
        }
    }
    let mut counts: Vec<(u64, &Arc<ProcessIdentity>)> = counts.into_values().collect();
    counts.sort_by_key(|(count, process)| (Reverse(*count), process.pid));
    counts.into_iter().map(|(_, process)| Arc::clone(process)).collect()
}
