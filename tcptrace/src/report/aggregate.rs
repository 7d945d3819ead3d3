//! Takes the records of all recordings one by one and keeps what a report needs. Pure: no I/O, no clock.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use hdrhistogram::CreationError;

use super::{
    asked_names::AskedNames,
    closings::{ClosingCounts, FirstCloser},
    entities::Entities,
    holders_at_end::HoldersAtEnd,
    over::OverCounts,
    session_kind::SessionKind,
    stay::{End, Holder, SocketIdentity, Stay, StayReport, Stays},
    sums::{Sums, Threshold, Window},
    time::unix_ns,
};
use crate::model::{
    criteria::Criteria,
    ended::EndedHow,
    owner::Owner,
    process::ProcessIdentity,
    reason::ReasonId,
    record::{Age, Header, Leak, LeakEnd, Record, Timed},
    socket::Socket,
    state::State,
    transition::Transition,
    verdict::Verdict,
};

/// Which part of the recordings the report covers.
#[derive(Clone, Debug)]
pub(crate) struct ReportScope {
    /// What counts as stuck.
    pub threshold: Threshold,
    pub window: Window,
    /// Which sockets, and whose; states and ages do not matter.
    pub criteria: Criteria,
    /// Sockets in CLOSE_WAIT followed at once.
    pub max_sockets: usize,
}

/// Records within the window that passed the filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Taken {
    /// State transitions.
    pub transitions: u64,
    /// Reports of stuck sockets.
    pub leaks: u64,
    /// Ends of stuck sockets.
    pub leak_ends: u64,
}

/// A file that records come from.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    pub name: String,
    /// Index of its session; `None` before its first record.
    pub session: Option<u32>,
    /// Records read so far.
    pub records: u64,
    /// Whether a session in it began before the one that stands above it had ended.
    pub is_out_of_order: bool,
}

/// The sums so far.
#[derive(Debug)]
pub(crate) struct Aggregator {
    wanted: ReportScope,
    pub entities: Entities,
    /// Stays that are not over.
    pub stays: Stays,
    over: Sums,
    pub closings: ClosingCounts,
    /// Descriptors of connections that are over.
    pub kept_over: OverCounts,
    pub sources: Vec<SourceFile>,
    pub taken: Taken,
    pub asked_names: AskedNames,
    /// Whether any record about a socket was read, wanted or not.
    pub has_observations: bool,
    /// Reported stuck sockets that the filters leave out; bounded as those that are followed.
    pub filtered_out: HashSet<SocketIdentity>,
    /// What was so of the first socket with each verdict and most telling reason.
    pub examples: BTreeMap<(Option<Verdict>, ReasonId), String>,
}

impl Aggregator {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never: see [`Sums::new`].
    pub(crate) fn new(wanted: ReportScope) -> Result<Self, CreationError> {
        Ok(Self {
            stays: Stays::new(wanted.max_sockets),
            asked_names: AskedNames::new(&wanted.criteria.owners),
            has_observations: false,
            filtered_out: HashSet::new(),
            wanted,
            entities: Entities::default(),
            over: Sums::new()?,
            closings: ClosingCounts::default(),
            kept_over: OverCounts::default(),
            sources: Vec::new(),
            taken: Taken::default(),
            examples: BTreeMap::new(),
        })
    }

    pub(crate) fn wanted(&self) -> &ReportScope {
        &self.wanted
    }

    /// Adds a file and returns its number for [`Aggregator::take`].
    pub(crate) fn add_source(&mut self, name: String) -> usize {
        self.sources.push(SourceFile { name, session: None, records: 0, is_out_of_order: false });
        self.sources.len() - 1
    }

    /// The sums over all stays; open ones count as they stand. `pad_ns` as for [`Sums::add`].
    pub(crate) fn sums(&self, pad_ns: i64) -> Sums {
        let mut sums = self.over.clone();
        let mut at_end = HoldersAtEnd::new(&self.entities, self.stays.iter().map(|(_, stay)| stay));
        for (_, stay) in self.stays.iter() {
            if self.is_of_interest(stay) {
                let mut stay = Cow::Borrowed(stay);
                if let Some(holders) = at_end.of(&stay)
                    && let Some(report) = &mut stay.to_mut().report
                {
                    report.holders = holders;
                }
                sums.add(&stay, &self.entities, self.wanted.threshold, self.wanted.window, pad_ns);
            }
        }
        sums
    }

    /// Whether a session that looks at the sockets in CLOSE_WAIT is recorded beyond its header.
    pub(crate) fn has_looked(&self) -> bool {
        let sessions = &mut self.entities.sessions.iter();
        sessions.any(|session| session.records_close_wait && session.first_record_ns.is_some())
    }

    /// Files whose sessions do not stand in their order of time.
    pub(crate) fn out_of_order(&self) -> impl Iterator<Item = &SourceFile> {
        self.sources.iter().filter(|source| source.is_out_of_order)
    }

    /// Takes the next record of a file. Records of all files must arrive in order of time, or nearly so.
    pub(crate) fn take(&mut self, source: usize, record: &Record) {
        if let Some(source) = self.sources.get_mut(source) {
            source.records += 1;
        }
        self.has_observations |=
            matches!(record, Record::Transition(_) | Record::Leak(_) | Record::LeakEnd(_));
        match record {
            Record::Header(header) => self.begin(source, header),
            Record::Transition(transition) => self.transition(source, transition),
            Record::Leak(leak) => self.leak(source, leak),
            Record::LeakEnd(end) => self.leak_end(source, end),
            // `tcptrace time-wait` and `clear` report the others themselves.
            Record::Summary(_)
            | Record::TimeWait(_)
            | Record::TimeWaitSummary(_)
            | Record::Cleared(_)
            | Record::ClearEnd(_)
            | Record::Other(_) => self.note(source, record),
        }
    }

    /// Notes what a record that is about no socket in CLOSE_WAIT says of its session.
    fn note(&mut self, source: usize, record: &Record) {
        let session = self.session(source, unix_ns(record.time()));
        if let Some(session) = self.entities.sessions.get_mut(session as usize) {
            session.has_ended |= record.is_summary();
        }
        if let Record::Summary(summary) = record {
            self.entities.sum_up(session, summary);
        }
    }

    /// Notes that a session of which the command is not known recorded sockets in CLOSE_WAIT.
    fn note_close_wait(&mut self, session: u32) {
        if let Some(session) = self.entities.sessions.get_mut(session as usize) {
            session.records_close_wait |= session.kind == SessionKind::Other;
        }
    }

    fn begin(&mut self, source: usize, header: &Header) {
        let session = self.entities.session(header);
        let Some(source) = self.sources.get_mut(source) else { return };
        let above = source.session.replace(session).filter(|above| *above != session);
        if above.is_some_and(|above| self.entities.note_order(above, session)) {
            source.is_out_of_order = true;
        }
    }

    /// The session that a file belongs to; notes that a record of this time was read.
    fn session(&mut self, source: usize, at_ns: i64) -> u32 {
        let known = self.sources.get(source).and_then(|source| source.session);
        let index = known.unwrap_or_else(|| {
            let session = self.entities.headless_session(at_ns);
            if let Some(source) = self.sources.get_mut(source) {
                source.session = Some(session);
            }
            session
        });
        if let Some(session) = self.entities.sessions.get_mut(index as usize) {
            session.reach(at_ns);
        }
        index
    }

    fn host(&self, session: u32) -> u32 {
        self.entities.sessions.get(session as usize).map_or(0, |session| session.host)
    }

    fn transition(&mut self, source: usize, transition: &Timed<Transition>) {
        let at_ns = unix_ns(transition.time);
        let session = self.session(source, at_ns);
        if let Some(session) = self.entities.sessions.get_mut(session as usize) {
            session.transitions += 1;
        }
        self.note_close_wait(session);
        let what = &transition.what;
        if !self.wanted.criteria.admits_socket(&what.socket) {
            return;
        }
        let host = self.host(session);
        if let Some(host) = self.entities.hosts.get_mut(host as usize) {
            host.sides.observe(what);
        }
        if self.wanted.window.contains(at_ns) {
            self.taken.transitions += 1;
            self.close(host, transition);
        }
        if what.new_state == State::CloseWait {
            let over = self.stays.enter(
                SocketIdentity::of(host, &what.socket),
                Stay {
                    socket: what.socket,
                    session,
                    start_ns: at_ns,
                    start_is_exact: true,
                    established_ns: what.dwell_ns().filter(|_| what.old_state == State::Established),
                    report: None,
                    end: None,
                },
            );
            self.add(over);
        } else if what.old_state == State::CloseWait {
            let dwell = what.dwell_ns().map(saturating);
            let first_ns =
                self.entities.sessions.get(session as usize).map_or(at_ns, |session| session.first_ns);
            let over = self.stays.leave(
                SocketIdentity::of(host, &what.socket),
                Stay {
                    socket: what.socket,
                    session,
                    start_ns: dwell.map_or(first_ns.min(at_ns), |dwell| at_ns.saturating_sub(dwell)),
                    start_is_exact: dwell.is_some(),
                    established_ns: None,
                    report: None,
                    end: Some(Box::new(End {
                        at_ns,
                        // close() sends the FIN that leads to LAST_ACK. To CLOSE it goes by a reset, or by close() with
                        // unread data: only a `leak_end` can tell.
                        how: (what.new_state == State::LastAck).then_some(EndedHow::Closed),
                        closed_by: (what.new_state == State::LastAck && !what.oncpu.is_kernel_worker())
                            .then(|| (what.oncpu.pid, what.oncpu.comm.to_text().into_owned())),
                    })),
                },
            );
            self.add(over);
        }
    }

    fn close(&mut self, host: u32, transition: &Timed<Transition>) {
        let Some(closed) = FirstCloser::of(&transition.what) else { return };
        let is_wanted = self.wanted.criteria.owners.is_empty()
            || (closed == FirstCloser::Us && self.admits_closer(host, &transition.what));
        let Some(sides) = self.entities.hosts.get(host as usize).map(|host| &host.sides) else { return };
        if is_wanted {
            let peer = sides.peer(&transition.what.socket.endpoints, None);
            self.closings.add(closed, host, transition, &peer);
        }
    }

    fn admits_closer(&self, host: u32, what: &Transition) -> bool {
        let task = &what.oncpu;
        let by_name = || ProcessIdentity::from_name(task.pid, &task.comm.to_text()).into();
        let process = self
            .entities
            .with_pid(host, task.pid)
            .map_or_else(by_name, |known| std::sync::Arc::clone(&known.identity));
        let evidence = crate::model::owner::Evidence::None;
        self.wanted.criteria.admits_owners(&[Owner { process, fds: Vec::new(), inherited: None, evidence }])
    }

    fn leak(&mut self, source: usize, leak: &Leak) {
        let at_ns = unix_ns(leak.time);
        let session = self.session(source, at_ns);
        self.note_close_wait(session);
        if leak.over.is_some() {
            self.leak_over(session, at_ns, leak);
            return;
        }
        let Some(age) = leak.age.filter(|_| leak.state == State::CloseWait) else { return };
        let is_wanted = self.wanted.criteria.admits_socket(&leak.socket);
        if is_wanted {
            self.asked_names.take(&leak.owners);
        }
        if !is_wanted || !self.wanted.criteria.admits_owners(&leak.owners) {
            self.filter_out(session, at_ns, leak, age);
            return;
        }
        if self.wanted.window.contains(at_ns) {
            self.taken.leaks += 1;
        }
        let host = self.host(session);
        let holders = leak.owners.iter().map(|owner| Holder {
            process: self.entities.process(host, &owner.process),
            fd: owner.fds.first().copied(),
            evidence: owner.evidence,
        });
        let holders = holders.collect();
        let opened = leak.opened_by.as_ref();
        let read = leak.eof_read_by.as_ref();
        let report = StayReport {
            verdict: leak.verdict,
            reason: self.example(leak),
            holders,
            opened: opened.map(|opened| (opened.what.how, unix_ns(opened.time))),
            stack: leak.opening_stack().and_then(|stack| self.entities.stack(&stack)),
            eof_read: read.map(|read| {
                (unix_ns(read.time), read.what.stack.as_ref().and_then(|stack| self.entities.stack(stack)))
            }),
            keeps_alive: leak.keep_alive == Some(true),
        };
        let new = stay_of_age(leak.socket, session, at_ns, age, None);
        let new = Stay { report: Some(report), ..new };
        let has_line = |stack| self.entities.stack_at(stack).is_some_and(|stack| stack.line().is_some());
        self.stays.report(SocketIdentity::of(host, &leak.socket), new, has_line);
    }

    /// Counts a socket that would be stuck without the filters.
    fn filter_out(&mut self, session: u32, at_ns: i64, leak: &Leak, age: Age) {
        let ReportScope { threshold, window, max_sockets, .. } = &self.wanted;
        let is_stuck = window.contains(at_ns)
            && leak.verdict != Some(Verdict::HalfOpen)
            && (!threshold.is_asked_for || age.ns >= threshold.ns);
        if is_stuck && self.filtered_out.len() < *max_sockets {
            self.filtered_out.insert(SocketIdentity::of(self.host(session), &leak.socket));
        }
    }

    /// Keeps the first leak with this verdict and most telling reason as an example; the reason.
    fn example(&mut self, leak: &Leak) -> Option<ReasonId> {
        const NAMED: usize = 2;
        let because = leak.because.as_deref().unwrap_or_default();
        let id = because.first()?.id;
        self.examples.entry((leak.verdict, id)).or_insert_with(|| {
            because.iter().take(NAMED).map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
        });
        Some(id)
    }

    /// A descriptor whose connection is over: no stay in CLOSE_WAIT.
    fn leak_over(&mut self, session: u32, at_ns: i64, leak: &Leak) {
        let ReportScope { criteria, window, .. } = &self.wanted;
        let is_wanted = criteria.admits_socket(&leak.socket)
            && criteria.admits_owners(&leak.owners)
            && window.contains(at_ns);
        if !is_wanted {
            return;
        }
        self.taken.leaks += 1;
        let host = self.host(session);
        let holder = leak.owners.first().and_then(|owner| self.entities.process(host, &owner.process));
        let stack = leak.opening_stack().and_then(|stack| self.entities.stack(&stack));
        let how = leak.over.and_then(|over| over.how);
        self.kept_over.add(SocketIdentity::of(host, &leak.socket), holder, how, stack);
    }

    fn leak_end(&mut self, source: usize, end: &LeakEnd) {
        let at_ns = unix_ns(end.time);
        let session = self.session(source, at_ns);
        self.note_close_wait(session);
        if !self.wanted.criteria.admits_socket(&end.socket) {
            return;
        }
        if self.wanted.window.contains(at_ns) {
            self.taken.leak_ends += 1;
        }
        let closed_by = end.closed_by.as_ref().map(|owner| (owner.process.pid, owner.process.comm.clone()));
        let new =
            stay_of_age(end.socket, session, at_ns, end.age, Some(End { at_ns, how: end.how, closed_by }));
        let over = self.stays.end(SocketIdentity::of(self.host(session), &end.socket), new);
        self.add(over);
    }

    fn add(&mut self, over: Option<Stay>) {
        if let Some(stay) = over.filter(|stay| self.is_of_interest(stay)) {
            self.over.add(&stay, &self.entities, self.wanted.threshold, self.wanted.window, 0);
        }
    }

    /// With a filter on owners, only sockets with a known, matching owner count.
    fn is_of_interest(&self, stay: &Stay) -> bool {
        stay.report.is_some() || self.wanted.criteria.owners.is_empty()
    }
}

/// A stay of this age at this time.
fn stay_of_age(socket: Socket, session: u32, at_ns: i64, age: Age, end: Option<End>) -> Stay {
    Stay {
        socket,
        session,
        start_ns: at_ns.saturating_sub(saturating(age.ns)),
        start_is_exact: age.is_exact,
        established_ns: None,
        report: None,
        end: end.map(Box::new),
    }
}

fn saturating(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}
