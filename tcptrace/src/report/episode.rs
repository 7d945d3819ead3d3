//! Stays in CLOSE_WAIT, joined from what different records tell of them: the transitions in and out, the
//! report of a leak, its end. Only stays that have not ended are kept; bounded.

use std::collections::{HashMap, VecDeque};

use crate::model::{
    endpoints::Endpoints, owner::Evidence, record::EndedHow, socket::Socket, task::OpenedHow,
    verdict::Verdict,
};

/// Ended stays that wait for the other record of their end: a transition and a `leak_end` tell of the same.
const MOST_CLOSING: usize = 16_384;

/// What tells a socket from others on all hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SocketId {
    /// By the cookie, which is never used again while the host is up.
    Cookie(u32, u64),
    /// Where there is none, by its ends. In a box, because they are four times as long and rare.
    Ends(u32, Box<Endpoints>),
}

impl SocketId {
    /// Of a socket of the host with this index.
    pub(crate) fn of(host: u32, socket: &Socket) -> Self {
        match socket.cookie {
            Some(cookie) => Self::Cookie(host, cookie),
            None => Self::Ends(host, Box::new(socket.endpoints)),
        }
    }
}

/// A stay in CLOSE_WAIT. Times are nanoseconds since 1970. There may be a million at once: what most of them have lies
/// in the stay itself, without a piece of memory of its own.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    /// The socket.
    pub socket: Socket,
    /// Index of the session that told of it last.
    pub session: u32,
    /// When it began, at the latest.
    pub start_ns: i64,
    /// Whether it began just then.
    pub start_is_exact: bool,
    /// Time in ESTABLISHED before, in nanoseconds, when known.
    pub established_ns: Option<u64>,
    /// What was found out when it was reported; `None` when it was not.
    pub report: Option<Finding>,
    /// How it ended; `None` while it has not, as far as is known.
    pub end: Option<Box<End>>,
}

impl Episode {
    /// Takes over when the stay began, if the other knows it better.
    fn learn_start(&mut self, other: &Self) {
        let is_better = match (self.start_is_exact, other.start_is_exact) {
            (false, true) => true,
            // Both say "then at the latest".
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

/// What was found out about a socket that was stuck.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Why.
    pub verdict: Option<Verdict>,
    /// Who holds it; none when nobody could be named.
    pub holders: Holders,
    /// How and when it was opened.
    pub opened: Option<(OpenedHow, i64)>,
    /// Index of the stack that opened it.
    pub stack: Option<u32>,
    /// When the end of file was read, and the index of the stack that did.
    pub eof_read: Option<(i64, Option<u32>)>,
}

/// Who holds a socket: mostly one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holders {
    first: Option<Holder>,
    others: Box<[Holder]>,
}

impl FromIterator<Holder> for Holders {
    fn from_iter<T: IntoIterator<Item = Holder>>(holders: T) -> Self {
        let mut holders = holders.into_iter();
        Self { first: holders.next(), others: holders.collect() }
    }
}

impl Holders {
    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.first.iter().chain(&self.others)
    }

    /// The first, if anybody could be named.
    pub(crate) fn first(&self) -> Option<&Holder> {
        self.first.as_ref()
    }
}

/// Who holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Index of the process; `None` when there was no room for it.
    pub process: Option<u32>,
    /// Its first descriptor for the socket.
    pub fd: Option<u32>,
    /// How this is known.
    pub evidence: Evidence,
}

/// The end of a stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// When.
    pub at_ns: i64,
    /// How; `None` when that was not seen.
    pub how: Option<EndedHow>,
    /// Pid and name of who closed it, when that was seen.
    pub closed_by: Option<(u32, String)>,
}

/// The stays that have not ended.
#[derive(Debug)]
pub(crate) struct Episodes {
    open: HashMap<SocketId, Episode>,
    /// In the order they ended; some may have been taken out of `open` since.
    closing: VecDeque<SocketId>,
    most: usize,
    evicted: u64,
}

impl Episodes {
    /// Keeps `most` stays at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: HashMap::new(), closing: VecDeque::new(), most, evicted: 0 }
    }

    /// Stays for which there was no room.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Those that are kept, ended ones that still wait for a second word included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SocketId, &Episode)> {
        self.open.iter()
    }

    /// How many are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// A socket entered CLOSE_WAIT. Returns a stay that is thereby known to be over.
    pub(crate) fn enter(&mut self, id: SocketId, new: Episode) -> Option<Episode> {
        let has_room = self.open.len() < self.most;
        match self.open.get_mut(&id) {
            // Reported before its beginning was read, from a file beside: it is the same stay.
            Some(known) if known.end.is_none() && matches!(id, SocketId::Cookie(..)) => {
                known.learn_start(&new);
                known.session = new.session;
                None
            }
            // These ends are used again.
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

    /// A socket left CLOSE_WAIT by a transition; `new` is its stay as that alone tells of it. Returns a stay of which all
    /// is known.
    pub(crate) fn leave(&mut self, id: SocketId, new: Episode) -> Option<Episode> {
        let Some(known) = self.open.get_mut(&id) else { return Some(new) };
        if known.end.is_some() {
            // Its `leak_end` came first, and knows more.
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

    /// A socket was reported; `new` is its stay as that alone tells of it.
    pub(crate) fn report(&mut self, id: SocketId, new: Episode) {
        let has_room = self.open.len() < self.most;
        match self.open.get_mut(&id) {
            Some(known) => {
                known.learn_start(&new);
                known.session = new.session;
                known.report = new.report;
            }
            None if has_room => {
                self.open.insert(id, new);
            }
            None => self.evicted += 1,
        }
    }

    /// A reported socket left CLOSE_WAIT; `new` is its stay as that alone tells of it. Returns a stay of which all is
    /// known.
    pub(crate) fn end(&mut self, id: SocketId, new: Episode) -> Option<Episode> {
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
            // Its report is missing. The transition may come yet, and must not count as another stay.
            None if has_room => {
                self.open.insert(id.clone(), new);
                self.closing.push_back(id);
            }
            None => self.evicted += 1,
        }
        self.overdue()
    }

    /// The stay that has waited the longest for a second word, when too many wait.
    fn overdue(&mut self) -> Option<Episode> {
        while self.closing.len() > MOST_CLOSING {
            let id = self.closing.pop_front()?;
            if self.open.get(&id).is_some_and(|episode| episode.end.is_some()) {
                return self.open.remove(&id);
            }
        }
        None
    }
}
