//! Tasks and the calls they made on sockets, as the kernel side reports them.

use std::fmt;

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
pub(crate) struct Opener {
    /// The call that opened it.
    pub call: Call,
    /// Which call that was.
    pub how: OpenedHow,
}
