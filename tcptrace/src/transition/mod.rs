//! The words of the domain: TCP states, sockets, tasks and the transition of a socket from one state
//! to another. Values only; no I/O, and no notion of how they were learnt.

mod endpoints;
mod state;

use std::fmt;

pub use self::{
    endpoints::{Endpoint, Endpoints},
    state::{State, StateSet, UnknownState},
};

/// What tells one socket from another. Only keys from the same tracer are comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey(pub u64);

/// A socket as it is spoken of in every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The kernel's socket cookie, never reused; `None` when this kernel does not tell it here.
    pub cookie: Option<u64>,
    /// Inode number of its network namespace; `None` when this kernel does not tell it here.
    pub netns: Option<u32>,
    /// Both ends.
    pub endpoints: Endpoints,
}

/// A task's name: bytes as its owner chose them, up to the first NUL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The name, without what fills it up.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The name as text; what is not UTF-8 is replaced. May hold control characters.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_text())
    }
}

/// A task, by its numbers in the root pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Process: the thread group id.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Name of the thread at that moment.
    pub comm: Comm,
}

/// How a socket was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedHow {
    /// By accept().
    Accept,
    /// By connect().
    Connect,
}

impl OpenedHow {
    /// The name of the system call.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Connect => "connect",
        }
    }
}

/// A call on a socket: seen in the caller's own context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The caller.
    pub task: Task,
    /// CLOCK_MONOTONIC of the call, in nanoseconds.
    pub ktime_ns: u64,
    /// Where the kernel side keeps the user stack of the call, if it does.
    pub stack: Option<u32>,
}

/// Who opened a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener {
    /// The call that opened it.
    pub call: Call,
    /// Which call that was.
    pub how: OpenedHow,
}

/// Address of the kernel's `struct sock`: reused once the socket is closed, and never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelSocket(pub u64);

/// Why a socket changed state, as the kernel knew it at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The socket's pending error, an errno; 0 = none.
    pub error: u16,
    /// Whether the task that happened to run was exiting.
    pub oncpu_exiting: bool,
}

/// A socket left one state for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Tells the socket from others in the same session.
    pub key: SocketKey,
    /// The socket.
    pub socket: Socket,
    /// Whether it is an MPTCP connection.
    pub is_mptcp: bool,
    /// CLOCK_MONOTONIC of the transition, in nanoseconds.
    pub ktime_ns: u64,
    /// The state left.
    pub old_state: State,
    /// The state entered.
    pub new_state: State,
    /// CLOCK_MONOTONIC when `old_state` was entered, in nanoseconds, when that was seen.
    pub entered_ns: Option<u64>,
    /// Who happened to run: not who owns the socket.
    pub oncpu: Task,
    /// Where the kernel has the socket.
    pub kernel_socket: KernelSocket,
    /// Why, where the kernel lets us see it.
    pub cause: Option<Cause>,
    /// Id of the socket's cgroup (v2), when known.
    pub cgroup_id: Option<u64>,
}

impl Transition {
    /// Time spent in `old_state` in nanoseconds, or `None` when its start was not seen.
    pub fn dwell_ns(&self) -> Option<u64> {
        Some(self.ktime_ns.saturating_sub(self.entered_ns?))
    }
}
