//! The hosts, sessions, processes and stacks of the recordings, each kept once and bounded. The caller counts what
//! found no room.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use indexmap::IndexMap;

use super::{side::Sides, time::unix_ns};
use crate::model::{
    host_identity::HostIdentity,
    pid::Pid,
    process::ProcessIdentity,
    record::{Header, Summary},
    stack::Stack,
    state::State,
};

/// Processes kept one by one.
pub(crate) const MOST_PROCESSES: usize = 2_048;

/// Stacks kept one by one.
const MOST_STACKS: usize = 4_096;

/// Clocks get adjusted: start times this close are of the same process.
const SAME_START_NS: i64 = 2_000_000_000;

/// The command that wrote a recording. It decides what the recording can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionKind {
    /// `tcptrace leaks`: sockets that passed the threshold.
    Leaks,
    /// `tcptrace now`: one moment.
    Now,
    /// `tcptrace trace`: every transition.
    Trace,
    /// `tcptrace time-wait`: nothing of CLOSE_WAIT.
    TimeWait,
    /// `tcptrace clear`: what it ended, and nothing of other sockets.
    Clear,
    /// Something else, or a file without its beginning.
    Other,
}

impl SessionKind {
    fn of(command: &[String]) -> Self {
        let words = command.iter().flat_map(|part| part.split_whitespace()).skip(1);
        match words.into_iter().find(|word| !matches!(*word, "-q" | "-v" | "--quiet" | "--verbose")) {
            Some("now") => Self::Now,
            Some("trace") => Self::Trace,
            Some("time-wait") => Self::TimeWait,
            Some("clear") => Self::Clear,
            None | Some("leaks") => Self::Leaks,
            Some(word) if word.starts_with('-') => Self::Leaks,
            Some(_) => Self::Other,
        }
    }

    /// Whether a session of this command records the sockets in CLOSE_WAIT. Where that is not known, its records tell.
    fn records_close_wait(self, command: &[String]) -> bool {
        match self {
            Self::Leaks => true,
            Self::Now | Self::Trace => {
                let words: Vec<&str> = command.iter().flat_map(|part| part.split_whitespace()).collect();
                let mut states =
                    words.iter().enumerate().filter_map(|(at, word)| match word.strip_prefix("--state")? {
                        "" => words.get(at + 1).copied(),
                        value => value.strip_prefix('='),
                    });
                // Recordings in .tct have the owners too.
                let follows = self == Self::Trace
                    && words
                        .iter()
                        .any(|word| *word == "--owners" || word.ends_with("tct") || word.contains(".tct."));
                let is_close_wait = |name: &str| name.parse() == Ok(State::CloseWait);
                let first = states.next();
                follows || first.is_none_or(is_close_wait) || states.any(is_close_wait)
            }
            Self::TimeWait | Self::Clear | Self::Other => false,
        }
    }
}

/// A machine from one boot to the next.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Its identity; `None` for a file without its beginning.
    pub identity: Option<HostIdentity>,
    /// The direction of its connections, as seen so far.
    pub sides: Sides,
}

/// One run of tcptrace. Rotation may have split its recording into several files.
#[derive(Clone, Debug)]
pub(crate) struct RecordedSession {
    pub host: u32,
    pub kind: SessionKind,
    /// Its header; `None` for a file without its beginning.
    pub header: Option<Header>,
    /// When it began, else its first record; nanoseconds since 1970.
    pub first_ns: i64,
    /// The first record read, not counting the header.
    pub first_record_ns: Option<i64>,
    pub last_ns: i64,
    /// Transitions read, wanted or not.
    pub transitions: u64,
    /// Its summary; `None` until it ends, and for a session of `clear`.
    pub summary: Option<Box<Summary>>,
    /// Whether its last record was read.
    pub has_ended: bool,
    /// Whether it looked at the sockets in CLOSE_WAIT.
    pub records_close_wait: bool,
}

impl RecordedSession {
    /// Notes that a record of this time was read.
    pub(crate) fn reach(&mut self, at_ns: i64) {
        self.last_ns = self.last_ns.max(at_ns);
        self.first_record_ns = Some(self.first_record_ns.map_or(at_ns, |first| first.min(at_ns)));
    }
}

/// A process, and the host it ran on.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub host: u32,
    /// Its identity in the latest record.
    pub identity: Arc<ProcessIdentity>,
}

/// All hosts, sessions, processes and stacks, by index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entities {
    pub hosts: Vec<Host>,
    pub sessions: Vec<RecordedSession>,
    pub processes: Vec<Process>,
    by_pid: HashMap<(u32, Pid), Vec<u32>>,
    /// By the line of code to look at, whatever lies above and below it: the first stack that had it.
    pub stacks: IndexMap<Option<String>, Arc<Stack>>,
}

fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Entities {
    /// The session of a header: a new one, or a known one that continues in another file.
    pub(crate) fn session(&mut self, header: &Header) -> u32 {
        let host = self.host(Some(&header.host));
        let known = self.sessions.iter().position(|session| {
            session.host == host
                && session
                    .header
                    .as_ref()
                    .is_some_and(|known| known.started == header.started && known.command == header.command)
        });
        if let Some(known) = known {
            return index(known);
        }
        let started = unix_ns(header.started);
        let kind = SessionKind::of(&header.command);
        self.sessions.push(RecordedSession {
            host,
            kind,
            header: Some(header.clone()),
            first_ns: started,
            first_record_ns: None,
            last_ns: started,
            transitions: 0,
            summary: None,
            has_ended: false,
            records_close_wait: kind.records_close_wait(&header.command),
        });
        index(self.sessions.len() - 1)
    }

    /// A session without its header, first seen at this time.
    pub(crate) fn headless_session(&mut self, first_ns: i64) -> u32 {
        let host = self.host(None);
        self.sessions.push(RecordedSession {
            host,
            kind: SessionKind::Other,
            header: None,
            first_ns,
            first_record_ns: None,
            last_ns: first_ns,
            transitions: 0,
            summary: None,
            has_ended: false,
            records_close_wait: SessionKind::Other.records_close_wait(&[]),
        });
        index(self.sessions.len() - 1)
    }

    fn host(&mut self, identity: Option<&HostIdentity>) -> u32 {
        // Files without a header may come from different hosts: each counts as its own.
        let known = identity.and_then(|identity| {
            self.hosts.iter().position(|host| {
                host.identity
                    .as_ref()
                    .is_some_and(|known| known.host == identity.host && known.boot_id == identity.boot_id)
            })
        });
        known.map_or_else(
            || {
                self.hosts.push(Host { identity: identity.cloned(), sides: Sides::default() });
                index(self.hosts.len() - 1)
            },
            index,
        )
    }

    /// The host's name, if there is more than one host.
    pub(crate) fn host_name(&self, host: u32) -> Option<&str> {
        if self.hosts.len() < 2 {
            return None;
        }
        let identity = self.hosts.get(host as usize)?.identity.as_ref();
        Some(identity.map_or("an unknown host", |identity| identity.host.as_str()))
    }

    /// The index of a process; `None` when there is no room for another.
    pub(crate) fn process(&mut self, host: u32, identity: &Arc<ProcessIdentity>) -> Option<u32> {
        let known = self.by_pid.get(&(host, identity.pid)).and_then(|indices| {
            indices.iter().copied().find(|index| {
                let process = self.processes.get(*index as usize);
                process.is_some_and(|process| is_the_same(&process.identity, identity))
            })
        });
        if let Some(index) = known {
            // exec may have changed the name: the latest counts, unless it comes without a start time.
            if let Some(process) = self.processes.get_mut(index as usize)
                && (identity.started.is_some() || process.identity.started.is_none())
            {
                process.identity = Arc::clone(identity);
            }
            return Some(index);
        }
        if self.processes.len() >= MOST_PROCESSES {
            return None;
        }
        let new = index(self.processes.len());
        self.processes.push(Process { host, identity: Arc::clone(identity) });
        self.by_pid.entry((host, identity.pid)).or_default().push(new);
        Some(new)
    }

    /// The process that had this pid last.
    pub(crate) fn with_pid(&self, host: u32, pid: Pid) -> Option<&Process> {
        let index = self.by_pid.get(&(host, pid))?.last()?;
        self.processes.get(*index as usize)
    }

    /// The stack with this index.
    pub(crate) fn stack_at(&self, index: u32) -> Option<&Arc<Stack>> {
        self.stacks.get_index(index as usize).map(|(_, stack)| stack)
    }

    /// The index of a stack; `None` when there is no room for another.
    pub(crate) fn stack(&mut self, stack: &Arc<Stack>) -> Option<u32> {
        let line = stack.title().map(Cow::into_owned);
        if let Some(at) = self.stacks.get_index_of(&line) {
            return Some(index(at));
        }
        if self.stacks.len() >= MOST_STACKS {
            return None;
        }
        Some(index(self.stacks.insert_full(line, Arc::clone(stack)).0))
    }

    /// Whether another session of the host began after this one ended: stays left open here may have ended since.
    pub(crate) fn is_superseded(&self, session: u32) -> bool {
        self.sessions.get(session as usize).is_some_and(|this| {
            self.sessions.iter().any(|other| other.host == this.host && other.first_ns > this.last_ns)
        })
    }
}

/// Whether two identities with the same pid are the same process.
fn is_the_same(one: &ProcessIdentity, other: &ProcessIdentity) -> bool {
    match (one.started, other.started) {
        (Some(one), Some(other)) => unix_ns(one).abs_diff(unix_ns(other)) < SAME_START_NS as u64,
        _ => one.comm == other.comm,
    }
}
