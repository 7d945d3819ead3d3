//! Sessions: the event loops that join the parts. One file a command; what they share is here.

pub(crate) mod clear;
pub(crate) mod exec;
pub(crate) mod grouping;
pub(crate) mod growth;
pub(crate) mod live;
pub(crate) mod now;
pub(crate) mod pump;
pub(crate) mod replay;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod tally;
pub(crate) mod time_wait;
pub(crate) mod watch;

use std::path::PathBuf;

use jiff::Timestamp;
use thiserror::Error;

use crate::{
    clear::ways::Unable,
    forms::reading::{error::ReadError, losses::Losses},
    host::{clock::WallClock, privilege::NotPrivileged},
    inspect::thread::WorkerGone,
    kernel::LoadError,
    model::{
        finding::Finding,
        owner::{CalledBy, OpenedBy},
        record::{Age, Header, Leak, Timed},
        state::State,
        units::plural,
    },
    netlink as sock_diag,
    output::{WriteError, file::OpenError},
};

/// A session could not run, or not to its end.
#[derive(Debug, Error)]
pub enum SessionError {
    /// This process may not do what is needed.
    #[error(transparent)]
    NotPrivileged(#[from] NotPrivileged),
    /// The kernel side could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An output file cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The system refused something that every session needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel does not list sockets.
    #[error(transparent)]
    SockDiag(#[from] sock_diag::Error),
    /// Sockets cannot be ended here.
    #[error(transparent)]
    Unable(#[from] Unable),
    /// It was told to end before it was done.
    #[error("interrupted: {} not touched", plural(*.0, "socket"))]
    Interrupted(u64),
    /// A part of the program ended.
    #[error(transparent)]
    Worker(#[from] WorkerGone),
    /// A recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A recording does not begin as a session does.
    #[error(
        "{path} does not begin with the header of a session, so it cannot be replayed as one: put its first line back, or sum up what is there with `tcptrace report`",
        path = path.display()
    )]
    NoHeader {
        /// The recording.
        path: PathBuf,
    },
    /// What is read is to be written over.
    #[error("{path} is what is replayed: name another output", path = path.display())]
    OwnInput {
        /// The recording.
        path: PathBuf,
    },
    /// A recording was replayed, but it is not all of its session.
    #[error("{path} is not the whole session: {losses}", path = path.display())]
    Missing {
        /// The recording.
        path: PathBuf,
        /// What is missing.
        losses: Box<Losses>,
    },
}

impl SessionError {
    /// The exit code that stands for it: a promise (README, "Exit codes").
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Open(_) | Self::Read(_) | Self::NoHeader { .. } | Self::OwnInput { .. } => 2,
            Self::NotPrivileged(_)
            | Self::Load(_)
            | Self::Unable(_)
            | Self::System { .. }
            | Self::SockDiag(_) => 3,
            Self::Write(_) | Self::Worker(_) | Self::Interrupted(_) | Self::Missing { .. } => 4,
        }
    }
}

/// What was found out about a socket, as a record.
fn leak(finding: &Finding, clock: WallClock) -> Leak {
    let opened =
        |opened: &OpenedBy| Timed { time: clock.at(opened.called.call.ktime_ns), what: opened.clone() };
    let called = |called: &CalledBy| Timed { time: clock.at(called.call.ktime_ns), what: called.clone() };
    Leak {
        time: clock.at(finding.looked_at_ns),
        socket: finding.socket,
        state: finding.state,
        age: (finding.state == State::CloseWait).then(|| Age::at(finding.since, finding.looked_at_ns)),
        recv_q: finding.recv_q,
        send_q: finding.send_q,
        verdict: finding.verdict,
        owners: finding.owners.clone(),
        opened_by: finding.opened_by.as_ref().map(opened),
        eof_read_by: finding.eof_read_by.as_ref().map(called),
    }
}

fn header(backend: impl std::fmt::Display, started: Timestamp) -> Header {
    Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: crate::host::identity::read(std::path::Path::new("/proc")),
        started,
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        backend: backend.to_string(),
    }
}
