//! The transition of a socket from one state to another. Values only: no I/O, and no notion of the source.

use super::{
    socket::{KernelSocket, Socket, SocketKey},
    state::State,
    task::Task,
};

/// Why a socket changed state, as the kernel saw it at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The socket's pending error, an errno; 0 = none.
    pub error: u16,
    /// Whether the task on the CPU was exiting.
    pub oncpu_exiting: bool,
    /// Whether the connection was ended by the peer, a timeout, SOCK_DESTROY or shutdown(2), and nobody had closed the
    /// socket.
    pub is_over: bool,
}

/// A socket left one state for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Identifies the socket within the session.
    pub key: SocketKey,
    pub socket: Socket,
    /// Whether it is an MPTCP connection.
    pub is_mptcp: bool,
    /// CLOCK_MONOTONIC of the transition, in nanoseconds.
    pub ktime_ns: u64,
    /// The state left.
    pub old_state: State,
    /// The state entered.
    pub new_state: State,
    /// CLOCK_MONOTONIC when `old_state` was entered, in nanoseconds, if seen.
    pub entered_ns: Option<u64>,
    /// The task on the CPU, which need not own the socket.
    pub oncpu: Task,
    /// The address of the socket in the kernel.
    pub kernel_socket: KernelSocket,
    /// The cause, if the kernel shows it.
    pub cause: Option<Cause>,
    /// Id of the socket's cgroup (v2), if known.
    pub cgroup_id: Option<u64>,
}

impl Transition {
    /// Nanoseconds in `old_state`; `None` if its start was not seen.
    #[must_use]
    pub fn dwell_ns(&self) -> Option<u64> {
        Some(self.ktime_ns.saturating_sub(self.entered_ns?))
    }
}
