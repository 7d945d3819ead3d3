//! Why a command ended early, and the exit code that stands for it.

use crate::{
    commands::clear::ways::Unable,
    forms::reading::{error::ReadError, losses::Losses},
    host::privilege::NotPrivileged,
    inspect::thread::WorkerGone,
    kernel::LoadError,
    model::units::plural,
    netlink as sock_diag,
    output::{WriteError, file::OpenError},
};
use std::path::PathBuf;
use thiserror::Error;

/// A session could not run, or not to its end.
#[derive(Debug, Error)]
pub(crate) enum SessionError {
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
    pub(crate) fn exit_code(&self) -> u8 {
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
