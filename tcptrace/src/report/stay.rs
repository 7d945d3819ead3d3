//! Stays in CLOSE_WAIT, joined from their records: the transitions in and out, the `leak`, the `leak_end`. Keeps only
//! stays that are not over; bounded.

use std::collections::{HashMap, VecDeque};

use crate::model::{
    ended::EndedHow, endpoints::Endpoints, owner::Evidence, pid::Pid, reason::ReasonId, socket::Socket,
    task::OpenedHow, verdict::Verdict,
};

/// Ended stays that wait for the second record of their end: a transition and a `leak_end` both report it.
const MOST_CLOSING: usize = 16_384;

/// Identifies a socket across all hosts (by index of the host).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SocketIdentity {
    /// By cookie, which the kernel never reuses until reboot.
    Cookie(u32, u64),
    /// Without a cookie, by its endpoints. Boxed: rare, and four times as large.
    Ends(u32, Box<Endpoints>),
}

impl SocketIdentity {
    /// The identity of a socket on the host with this index.
    pub(crate) fn of(host: u32, socket: &Socket) -> Self {
        match socket.cookie {
            Some(cookie) => Self::Cookie(host, cookie),
            None => Self::Ends(host, Box::new(socket.endpoints)),
        }
    }
}

/// A stay in CLOSE_WAIT. Times are nanoseconds since 1970. There may be a million at once, so what most stays have is
/// stored inline, without an allocation.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub socket: Socket,
    /// Index of the session whose record mentioned it last.
    pub session: u32,
    /// The latest possible start.
    pub start_ns: i64,
    /// Whether it started exactly then.
    pub start_is_exact: bool,
    /// Time in ESTABLISHED before, in nanoseconds, when known.
    pub established_ns: Option<u64>,
    /// The findings of its `leak` record, if it has one.
    pub report: Option<StayReport>,
    /// How it ended; `None` while it is open, as far as known.
    pub end: Option<Box<End>>,
}

impl Stay {
    /// Adopts the other's start if that is more precise.
    fn learn_start(&mut self, other: &Self) {
        let is_better = match (self.start_is_exact, other.start_is_exact) {
            (false, true) => true,
            // Both are upper bounds.
            (false, false) => other.start_ns < self.start_ns,
            (true, _) => false,
        };
        if is_better {
            self.start_ns = other.start_ns;
            self.start_is_exact = other.start_is_exact;
        }
        self.established_ns = self.established_ns.or(other.established_ns);
    }
}

/// The findings of a `leak` record.
#[derive(Clone, Debug)]
pub(crate) struct StayReport {
    pub verdict: Option<Verdict>,
    /// The most telling reason.
    pub reason: Option<ReasonId>,
    /// Empty when no holder was found.
    pub holders: StayHolders,
    /// How and when it was opened.
    pub opened: Option<(OpenedHow, i64)>,
    /// Index of the stack that opened it.
    pub stack: Option<u32>,
    /// When the end of file was read, and the index of the stack that did.
    pub eof_read: Option<(i64, Option<u32>)>,
    /// Whether the answers to keep-alive probes hide its age from whoever comes later.
    pub keeps_alive: bool,
}

impl StayReport {
    /// Takes a later report in. What that does not know is not unlearnt: a session that began after the socket was opened
    /// does not know the line. `has_line` tells whether the stack with this index has one.
    fn learn(&mut self, later: Self, has_line: impl Fn(u32) -> bool) {
        let Self { verdict, reason, holders, opened, stack, eof_read, keeps_alive } = later;
        self.keeps_alive |= keeps_alive;
        if verdict.is_some() {
            // The reason belongs to the verdict.
            self.reason = if verdict == self.verdict { reason.or(self.reason) } else { reason };
            self.verdict = verdict;
        }
        if holders.first().is_some() {
            self.holders = holders;
        }
        let rank = |opened: Option<_>, stack: Option<u32>| {
            (stack.is_some_and(&has_line), opened.is_some(), stack.is_some())
        };
        if rank(opened, stack) >= rank(self.opened, self.stack) {
            (self.opened, self.stack) = (opened, stack);
        }
        let has_reader = |read: Option<(i64, Option<u32>)>| read.map(|(_, stack)| stack.is_some());
        if has_reader(eof_read) >= has_reader(self.eof_read) {
            self.eof_read = eof_read;
        }
    }
}

/// The holders of a socket, with room for one inline.
#[derive(Clone, Debug, Default)]
pub(crate) struct StayHolders {
    first: Option<Holder>,
    others: Box<[Holder]>,
}

impl FromIterator<Holder> for StayHolders {
    fn from_iter<T: IntoIterator<Item = Holder>>(holders: T) -> Self {
        let mut holders = holders.into_iter();
        Self { first: holders.next(), others: holders.collect() }
    }
}

impl StayHolders {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.first.iter().chain(&self.others)
    }

    pub(crate) fn first(&self) -> Option<&Holder> {
        self.first.as_ref()
    }
}

/// A process that holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Index of the process; `None` when there was no room for it.
    pub process: Option<u32>,
    /// Its first descriptor for the socket.
    pub fd: Option<u32>,
    /// How the holder was found.
    pub evidence: Evidence,
}

/// The end of a stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub at_ns: i64,
    /// `None` when nobody saw how.
    pub how: Option<EndedHow>,
    /// Pid and name of the closer, if seen.
    pub closed_by: Option<(Pid, String)>,
}

/// The stays that are not over.
#[derive(Debug)]
pub(crate) struct Stays {
    open: HashMap<SocketIdentity, Stay>,
    /// In the order they ended; some may have left `open` since.
    closing: VecDeque<SocketIdentity>,
    most: usize,
    evicted: u64,
}

impl Stays {
    /// Keeps at most `most` stays.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: HashMap::new(), closing: VecDeque::new(), most, evicted: 0 }
    }

    /// Stays dropped for lack of room.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The stays kept, including ended ones that wait for a second record.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SocketIdentity, &Stay)> {
        self.open.iter()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// A socket entered CLOSE_WAIT. Returns the stay that this ends, if any.
    pub(crate) fn enter(&mut self, id: SocketIdentity, new: Stay) -> Option<Stay> {
        let has_room = self.open.len() < self.most;
        match self.open.get_mut(&id) {
            // Another file reported it before its start was read: the same stay.
            Some(known) if known.end.is_none() && matches!(id, SocketIdentity::Cookie(..)) => {
                known.learn_start(&new);
                known.session = new.session;
                None
            }
            // The endpoints are in use again.
            Some(known) => {
                let at_ns = new.start_ns;
                let mut over = std::mem::replace(known, new);
                over.end.get_or_insert(Box::new(End { at_ns, how: None, closed_by: None }));
                Some(over)
            }
            None => {
                if has_room {
                    self.open.insert(id, new);
                } else {
                    self.evicted += 1;
                }
                None
            }
        }
    }

    /// A transition left CLOSE_WAIT; `new` is the stay as that record alone describes it. Returns a stay that
    /// is complete.
    pub(crate) fn leave(&mut self, id: SocketIdentity, new: Stay) -> Option<Stay> {
        let Some(known) = self.open.get_mut(&id) else { return Some(new) };
        if known.end.is_some() {
            // Its `leak_end` came first and has more detail.
            return self.open.remove(&id);
        }
        known.learn_start(&new);
        known.session = new.session;
        known.end = new.end;
        if known.report.is_none() {
            return self.open.remove(&id);
        }
        self.closing.push_back(id);
        self.overdue()
    }

    /// A `leak` record; `new` is the stay as that record alone describes it. `has_line` tells whether the stack with this
    /// index has a line of code.
    pub(crate) fn report(&mut self, id: SocketIdentity, new: Stay, has_line: impl Fn(u32) -> bool) {
        let has_room = self.open.len() < self.most;
        match self.open.get_mut(&id) {
            Some(known) => {
                known.learn_start(&new);
                known.session = new.session;
                match (&mut known.report, new.report) {
                    (Some(report), Some(later)) => report.learn(later, has_line),
                    (report, later) => *report = later,
                }
            }
            None if has_room => {
                self.open.insert(id, new);
            }
            None => self.evicted += 1,
        }
    }

    /// A `leak_end` record; `new` is the stay as that record alone describes it. Returns a stay that is complete.
    pub(crate) fn end(&mut self, id: SocketIdentity, new: Stay) -> Option<Stay> {
        let has_room = self.open.len() < self.most;
        match self.open.get_mut(&id) {
            Some(known) => {
                let is_second_word = known.end.is_some();
                known.learn_start(&new);
                known.session = new.session;
                known.end = new.end;
                if is_second_word {
                    return self.open.remove(&id);
                }
                self.closing.push_back(id);
            }
            // The `leak` is missing. The transition may still come and must not count as a second stay.
            None if has_room => {
                self.open.insert(id.clone(), new);
                self.closing.push_back(id);
            }
            None => self.evicted += 1,
        }
        self.overdue()
    }

    /// When too many stays wait for a second record, the one that has waited longest.
    fn overdue(&mut self) -> Option<Stay> {
        while self.closing.len() > MOST_CLOSING {
            let id = self.closing.pop_front()?;
            if self.open.get(&id).is_some_and(|stay| stay.end.is_some()) {
                return self.open.remove(&id);
            }
        }
        None
    }
}
