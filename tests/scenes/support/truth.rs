//! The truth about the sockets of a scene, as whoever built the scene knows it. It looks at nothing.

use std::ops::{RangeFrom, RangeInclusive};

use serde_json::Value;

/// What the text must not say of an accepted socket: no pool ever accepted one.
const NEVER_OF_ACCEPTED: &[&str] = &["connection pool", "idle in a pool"];

/// One or more alike sockets in CLOSE_WAIT.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub scene: &'static str,
    /// The filter, in the words of the tool and of `ss`.
    pub side: Side,
    pub count: usize,
    /// Who answers for them: those who hold them, or those who hold their listener.
    pub owners: Vec<i32>,
    pub unread: RangeInclusive<u32>,
    pub unsent: RangeFrom<u32>,
    /// A process in whose network namespace they are; `None` for our own.
    pub place: Option<i32>,
    /// The first is the truth; where there are others, they are defensible too.
    pub verdict: &'static [&'static str],
    /// Reasons that may stand first; empty where none is asked for.
    pub first: &'static [&'static str],
    pub also: &'static [&'static str],
    pub never: Vec<&'static str>,
    /// Reason, field and value.
    pub numbers: Vec<(&'static str, &'static str, Value)>,
    /// Words that the text must have, and must not have.
    pub says: Vec<String>,
    pub never_says: Vec<&'static str>,
}

/// Which end has the port that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// Accepted here.
    At(u16),
    /// Connected to there.
    To(u16),
}

impl Side {
    /// As arguments of the tool.
    pub(crate) fn arguments(self) -> [String; 2] {
        match self {
            Self::At(port) => ["--lport".to_owned(), port.to_string()],
            Self::To(port) => ["--rport".to_owned(), port.to_string()],
        }
    }

    /// As a filter of `ss`.
    pub(crate) fn filter(self) -> String {
        match self {
            Self::At(port) => format!("sport = :{port}"),
            Self::To(port) => format!("dport = :{port}"),
        }
    }
}

impl Truth {
    /// A socket that was accepted at this port.
    pub(crate) fn accepted(scene: &'static str, port: u16) -> Self {
        let mut truth = Self::new(scene, Side::At(port)).never(&["idle_in_pool", "connected"]);
        truth.never_says.extend(NEVER_OF_ACCEPTED);
        truth
    }

    /// A socket that was connected to this port.
    pub(crate) fn connected(scene: &'static str, port: u16) -> Self {
        let never = ["client_left", "old_generation", "nobody_accepts", "accept_queue"];
        Self::new(scene, Side::To(port)).never(&never)
    }

    /// The three connections of a pool that idle, and whose peer ended them without a word.
    pub(crate) fn idle_pool(scene: &'static str, port: u16, pool: i32) -> Self {
        Self::connected(scene, port)
            .count(3)
            .owners(&[pool])
            .unread(1..=1)
            .verdict(&["eof_unread"])
            .first(&["idle_in_pool"])
            .never(&["last_words"])
            .never_says(&["blocked or gone"])
    }

    fn new(scene: &'static str, side: Side) -> Self {
        Self {
            scene,
            side,
            count: 1,
            owners: Vec::new(),
            unread: 0..=0,
            unsent: 0..,
            place: None,
            verdict: &[],
            first: &[],
            also: &[],
            never: Vec::new(),
            numbers: Vec::new(),
            says: Vec::new(),
            never_says: Vec::new(),
        }
    }

    pub(crate) fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    pub(crate) fn owners(mut self, pids: &[i32]) -> Self {
        self.owners = pids.to_vec();
        self.owners.sort_unstable();
        self
    }

    pub(crate) fn unread(mut self, bytes: RangeInclusive<u32>) -> Self {
        self.unread = bytes;
        self
    }

    pub(crate) fn unsent(mut self, bytes: RangeFrom<u32>) -> Self {
        self.unsent = bytes;
        self
    }

    pub(crate) fn place(mut self, pid: i32) -> Self {
        self.place = Some(pid);
        self
    }

    pub(crate) fn verdict(mut self, verdict: &'static [&'static str]) -> Self {
        self.verdict = verdict;
        self
    }

    pub(crate) fn first(mut self, ids: &'static [&'static str]) -> Self {
        self.first = ids;
        self
    }

    pub(crate) fn also(mut self, ids: &'static [&'static str]) -> Self {
        self.also = ids;
        self
    }

    pub(crate) fn never(mut self, ids: &[&'static str]) -> Self {
        self.never.extend(ids);
        self
    }

    pub(crate) fn number(mut self, id: &'static str, field: &'static str, value: impl Into<Value>) -> Self {
        self.numbers.push((id, field, value.into()));
        self
    }

    pub(crate) fn says(mut self, words: impl Into<String>) -> Self {
        self.says.push(words.into());
        self
    }

    pub(crate) fn never_says(mut self, words: &[&'static str]) -> Self {
        self.never_says.extend(words);
        self
    }

    /// Whether only their descriptors are left: the kernel lists no such socket.
    pub(crate) fn is_over(&self) -> bool {
        self.verdict.contains(&"connection_over")
    }

    /// Whether `leaks` reports them: a half-close is none.
    pub(crate) fn is_leak(&self) -> bool {
        !self.verdict.contains(&"half_open")
    }
}
