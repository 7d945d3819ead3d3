//! Who answers for a socket, and how that is known: an owner is never stated without its evidence.

use super::{
    process::ProcessIdentity,
    stack::Stack,
    task::{Call, OpenedHow},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How an owner is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A descriptor of it was found in the process's descriptor table.
    FdTable,
    /// The socket was never accepted, and the process holds the listening socket.
    Listener,
    /// The process accepted or connected the socket; it may no longer hold it.
    Opened,
    /// The process was seen closing it.
    None,
}

/// A process that answers for a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who.
    pub process: Arc<ProcessIdentity>,
    /// Its descriptors for the socket (or for the listener), ascending.
    pub fds: Vec<u32>,
    /// Whether another process opened the socket; `None` when nobody was seen opening it.
    pub inherited: Option<bool>,
    /// How this is known.
    pub evidence: Evidence,
}

/// A call on a socket: by whom, when, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalledBy {
    /// Who and when.
    pub call: Call,
    /// The stack of the call; `None` when it was not kept, or the process has ended.
    pub stack: Option<Arc<Stack>>,
}

/// Who opened a socket, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedBy {
    /// By which call.
    pub how: OpenedHow,
    /// Who made it.
    pub called: CalledBy,
}
