//! Who appears in the recordings: hosts, sessions, processes and stacks, each kept once and bounded. What
//! finds no room is counted by whoever asked.

use std::{collections::HashMap, sync::Arc};

use indexmap::IndexSet;

use super::{side::Sides, unix_ns};
use crate::model::{
    host_identity::HostIdentity,
    process::ProcessIdentity,
    record::{Header, Summary},
    stack::Stack,
};

/// Processes kept one by one.
pub(crate) const MOST_PROCESSES: usize = 2_048;

/// Stacks kept one by one.
const MOST_STACKS: usize = 4_096;

/// Clocks are set: a process whose start was computed twice is the same within this time.
const SAME_START_NS: i64 = 2_000_000_000;

/// What kind of session wrote a recording: it decides what can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// `tcptrace leaks`: what passed its threshold.
    Leaks,
    /// `tcptrace now`: one moment.
    Now,
    /// `tcptrace trace`: every transition.
    Trace,
    /// Something else, or a file without its beginning.
    Other,
}

impl Kind {
    fn of(command: &[String]) -> Self {
        let words = command.iter().flat_map(|part| part.split_whitespace()).skip(1);
        match words.into_iter().find(|word| !matches!(*word, "-q" | "-v" | "--quiet" | "--verbose")) {
            Some("now") => Self::Now,
            Some("trace") => Self::Trace,
            None | Some("leaks") => Self::Leaks,
            Some(word) if word.starts_with('-') => Self::Leaks,
            Some(_) => Self::Other,
        }
    }
}

/// A machine, from one start to the next.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Its identity; `None` for a file without its beginning.
    pub identity: Option<HostIdentity>,
    /// Which way its connections go.
    pub sides: Sides,
}

/// One run of tcptrace; its recording may have been cut into several files.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Index of the host.
    pub host: u32,
    /// What ran.
    pub kind: Kind,
    /// Its header; `None` for a file without its beginning.
    pub header: Option<Header>,
    /// When it began, or else its first record: nanoseconds since 1970.
    pub first_ns: i64,
    /// Its first record that was read, the header apart.
    pub first_record_ns: Option<i64>,
    /// Its last record.
    pub last_ns: i64,
    /// How it summed itself up; `None` as long as it has not ended.
    pub summary: Option<Box<Summary>>,
}

impl Session {
    /// Notes that a record of this time was read.
    pub(crate) fn reach(&mut self, at_ns: i64) {
        self.last_ns = self.last_ns.max(at_ns);
        self.first_record_ns = Some(self.first_record_ns.map_or(at_ns, |first| first.min(at_ns)));
    }
}

/// A process, and the host it ran on.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Index of the host.
    pub host: u32,
    /// Who it is, as told last.
    pub identity: Arc<ProcessIdentity>,
}

/// Everybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cast {
    /// Hosts.
    pub hosts: Vec<Host>,
    /// Sessions.
    pub sessions: Vec<Session>,
    /// Processes.
    pub processes: Vec<Process>,
    by_pid: HashMap<(u32, u32), Vec<u32>>,
    /// Stacks.
    pub stacks: IndexSet<Arc<Stack>>,
}

fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Cast {
    /// The session that a header begins, or goes on with in a further file.
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
        self.sessions.push(Session {
            host,
            kind: Kind::of(&header.command),
            header: Some(header.clone()),
            first_ns: started,
            first_record_ns: None,
            last_ns: started,
            summary: None,
        });
        index(self.sessions.len() - 1)
    }

    /// A session of which the beginning is missing, first heard of at this time.
    pub(crate) fn headless_session(&mut self, first_ns: i64) -> u32 {
        let host = self.host(None);
        self.sessions.push(Session {
            host,
            kind: Kind::Other,
            header: None,
            first_ns,
            first_record_ns: None,
            last_ns: first_ns,
            summary: None,
        });
        index(self.sessions.len() - 1)
    }

    fn host(&mut self, identity: Option<&HostIdentity>) -> u32 {
        // Files without their beginning may be of different hosts: each is one of its own.
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

    /// The host's name, where there are several to tell apart.
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
            // The name may have changed by exec: the present one counts. A name alone tells less than is known.
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

    /// The process with this pid that was heard of last.
    pub(crate) fn with_pid(&self, host: u32, pid: u32) -> Option<&Process> {
        let index = self.by_pid.get(&(host, pid))?.last()?;
        self.processes.get(*index as usize)
    }

    /// The index of a stack; `None` when there is no room for another.
    pub(crate) fn stack(&mut self, stack: &Arc<Stack>) -> Option<u32> {
        if let Some(at) = self.stacks.get_index_of(stack) {
            return Some(index(at));
        }
        if self.stacks.len() >= MOST_STACKS {
            return None;
        }
        Some(index(self.stacks.insert_full(Arc::clone(stack)).0))
    }

    /// Whether a later session of the same host began after this one had ended: what this one left open may have
    /// ended since.
    pub(crate) fn is_superseded(&self, session: u32) -> bool {
        self.sessions.get(session as usize).is_some_and(|this| {
            self.sessions.iter().any(|other| other.host == this.host && other.first_ns > this.last_ns)
        })
    }
}

/// Whether two descriptions with the same pid are of the same process.
fn is_the_same(one: &ProcessIdentity, other: &ProcessIdentity) -> bool {
    match (one.started, other.started) {
        (Some(one), Some(other)) => unix_ns(one).abs_diff(unix_ns(other)) < SAME_START_NS as u64,
        _ => one.comm == other.comm,
    }
}
