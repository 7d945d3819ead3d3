//! The hosts, sessions, processes and stacks of the recordings, each kept once and bounded. The caller counts what
//! found no room.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use indexmap::IndexMap;

use super::{asked_for::asked_for, session_kind::SessionKind, side::Sides, time::unix_ns};
use crate::model::{
    criteria::Criteria,
    host_identity::HostIdentity,
    pid::Pid,
    process::ProcessIdentity,
    record::{Header, ProcessSummary, Summary},
    stack::Stack,
};

/// Processes kept one by one.
pub(crate) const MOST_PROCESSES: usize = 2_048;

/// Stacks kept one by one.
const MOST_STACKS: usize = 4_096;

/// Clocks get adjusted: start times this close are of the same process.
const SAME_START_NS: i64 = 2_000_000_000;

/// A machine from one boot to the next.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Its identity; `None` for a file without its beginning.
    pub identity: Option<HostIdentity>,
    /// The direction of its connections, as seen so far.
    pub sides: Sides,
    /// Whether a file held sessions of it out of their order of time: which of them saw a socket last is not known then.
    pub is_out_of_order: bool,
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
    /// What it asked for, if it lists the sockets in CLOSE_WAIT that are there.
    pub asked_for: Option<Criteria>,
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
            asked_for: asked_for(kind, &header.command),
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
            asked_for: None,
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
                let sides = Sides::default();
                self.hosts.push(Host { identity: identity.cloned(), sides, is_out_of_order: false });
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

    /// The index of a process in a summary of this host, which does not know its start and has its latest name.
    pub(crate) fn in_summary(&self, host: u32, summary: &Summary, process: &ProcessSummary) -> Option<u32> {
        let ProcessIdentity { pid, comm, .. } = process.process.as_ref();
        let indices = self.by_pid.get(&(host, *pid))?;
        let has_name = |index: &&u32| {
            self.processes.get(**index as usize).is_some_and(|known| known.identity.comm == *comm)
        };
        let is_only = || summary.processes.iter().filter(|other| other.process.pid == *pid).count() == 1;
        let named = indices.iter().rev().find(has_name);
        named.or_else(|| indices.last().filter(|_| is_only())).copied()
    }

    /// Notes the summary of a session, and the processes that no record was about: they got their sockets from others.
    pub(crate) fn sum_up(&mut self, session: u32, summary: &Summary) {
        let Some(host) = self.sessions.get(session as usize).map(|session| session.host) else { return };
        for process in summary.processes.iter().filter(|process| process.still_stuck > 0) {
            if self.in_summary(host, summary, process).is_none() {
                self.process(host, &process.process);
            }
        }
        if let Some(session) = self.sessions.get_mut(session as usize) {
            session.summary = Some(Box::new(summary.clone()));
        }
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

    /// Notes that one session stands below another in the same file. Returns whether it began before the other had ended, on the
    /// same host.
    pub(crate) fn note_order(&mut self, above: u32, below: u32) -> bool {
        let session = |index: u32| self.sessions.get(index as usize);
        let (Some(above), Some(below)) = (session(above), session(below)) else { return false };
        let is_out_of_order = above.host == below.host && below.first_ns < above.last_ns;
        if is_out_of_order && let Some(host) = self.hosts.get_mut(below.host as usize) {
            host.is_out_of_order = true;
        }
        is_out_of_order
    }

    /// Whether the sessions of this session's host came in their order of time.
    pub(crate) fn is_in_order(&self, session: u32) -> bool {
        let host =
            self.sessions.get(session as usize).and_then(|session| self.hosts.get(session.host as usize));
        host.is_some_and(|host| !host.is_out_of_order)
    }

    /// The sessions of the host that began after this one ended.
    pub(crate) fn later_sessions(&self, session: u32) -> impl Iterator<Item = &RecordedSession> {
        self.sessions.get(session as usize).into_iter().flat_map(|this| {
            self.sessions.iter().filter(|other| other.host == this.host && other.first_ns > this.last_ns)
        })
    }

    /// Whether the report goes on after this session, on its host.
    pub(crate) fn has_later_session(&self, session: u32) -> bool {
        self.later_sessions(session).next().is_some()
    }
}

/// Whether two identities with the same pid are the same process.
fn is_the_same(one: &ProcessIdentity, other: &ProcessIdentity) -> bool {
    match (one.started, other.started) {
        (Some(one), Some(other)) => unix_ns(one).abs_diff(unix_ns(other)) < SAME_START_NS as u64,
        _ => one.comm == other.comm,
    }
}
