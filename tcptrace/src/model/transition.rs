//! The words of the domain: TCP states, sockets, tasks and the transition of a socket from one state
//! to another. Values only; no I/O, and no notion of how they were learnt.

use super::socket::KernelSocket;
use super::socket::Socket;
use super::socket::SocketKey;
use super::task::Task;

use super::state::State;

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
