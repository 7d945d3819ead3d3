//! The records that the kernel side writes for user space, byte for byte.
//!
//! Every field is an integer or an array of bytes, and there is no implicit padding (deriving
//! `IntoBytes` on the host proves it): the kernel does not zero ring-buffer memory, so padding would
//! leak old kernel memory to user space. Each is a multiple of eight bytes long, which the reader of perf
//! buffers relies on. Integers have the byte order of the machine. Nothing here
//! interprets a record.

use crate::interpreter::ScriptFrames;

/// Length of a task's name with the terminating NUL: `TASK_COMM_LEN` of `include/linux/sched.h`.
pub const COMM_LENGTH: usize = 16;

/// Sixteen bytes in memory order, as words: the BPF target copies arrays of bytes one byte at a time. See
/// [`bytes`].
pub type Sixteen = [u64; 2];

/// Joins four half words, given in memory order, into two words.
#[inline(always)]
#[must_use]
pub fn joined(halves: [u32; 4]) -> Sixteen {
    let two = |first: u32, second: u32| {
        let (low, high) = if cfg!(target_endian = "little") { (first, second) } else { (second, first) };
        u64::from(high) << 32 | u64::from(low)
    };
    let [first, second, third, fourth] = halves;
    [two(first, second), two(third, fourth)]
}

/// `include/linux/socket.h`
pub const AF_INET6: u16 = 10;

/// The v4-mapped form of an IPv4 address in network byte order.
#[inline(always)]
#[must_use]
pub fn mapped(address: u32) -> Sixteen {
    joined([0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), address])
}

/// The bytes of two words, in memory order.
#[must_use]
pub fn bytes(words: Sixteen) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (part, word) in bytes.chunks_exact_mut(8).zip(words) {
        part.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// In the number of a process or thread: it is that of the root pid namespace, because the reader's pid namespace does
/// not show the process. No number is as large: `PID_MAX_LIMIT` of include/linux/threads.h is 4 million.
pub const HOST_PID: u32 = 1 << 31;

/// One TCP state transition, from the tracepoint `sock:inet_sock_set_state`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct TransitionRecord {
    /// The socket's cookie; 0 when not known (the classic tracepoint without BTF, a socket without one).
    pub cookie: u64,
    /// Address of the kernel's `struct sock`. The kernel reuses it; the tool never shows it.
    pub sock: u64,
    /// CLOCK_MONOTONIC of the transition, in nanoseconds.
    pub ktime_ns: u64,
    /// CLOCK_MONOTONIC when the socket entered `old_state`, in nanoseconds; 0 when not known.
    pub entered_ns: u64,
    /// Id of the cgroup (v2) that the socket belongs to; 0 when not known.
    pub cgroup_id: u64,
    /// Local address in network byte order; an IPv4 address in its v4-mapped form.
    pub laddr: Sixteen,
    /// Remote address in network byte order; an IPv4 address in its v4-mapped form.
    pub raddr: Sixteen,
    /// Inode number of the socket's network namespace; 0 when not known.
    pub netns: u32,
    /// Thread group id of the task on the CPU, in the reader's pid namespace, or with [`HOST_PID`].
    pub oncpu_pid: u32,
    /// Thread id of the task on the CPU, likewise.
    pub oncpu_tid: u32,
    /// Local port, host byte order.
    pub lport: u16,
    /// Remote port, host byte order.
    pub rport: u16,
    /// Name of the task on the CPU, NUL-padded.
    pub oncpu_comm: Sixteen,
    /// The state left, a number of `include/net/tcp_states.h`.
    pub old_state: u8,
    /// The state entered, a number of `include/net/tcp_states.h`.
    pub new_state: u8,
    /// 1 for an MPTCP connection (`IPPROTO_MPTCP`), 0 for plain TCP.
    pub mptcp: u8,
    /// 1 when the task on the CPU is exiting (`PF_EXITING`); 0 when not, or not known.
    pub oncpu_exiting: u8,
    /// The socket's pending error (`sk_err`, an errno): what ended a connection that nobody closed.
    pub error: u16,
    /// 1 when the kernel side read `error` and `oncpu_exiting`, 0 when it could not.
    pub has_cause: u8,
    /// 1 when the connection was ended by the peer, a timeout, SOCK_DESTROY or shutdown(2), and nobody had closed the
    /// socket.
    pub is_over: u8,
}

/// Places for sockets that came into CLOSE_WAIT a moment ago: a power of two. They take 512 KiB, which fits a CPU's cache.
pub const ARRIVALS: usize = 1 << 12;

/// A socket that came into CLOSE_WAIT, and has not left it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Arrival {
    /// What the programs know the socket by; 0 = nothing is kept here. Written last, and cleared first.
    pub key: u64,
    /// Those that have the place, or try to get it.
    pub claims: u32,
    /// Always zero.
    pub padding: u32,
    /// The transition into CLOSE_WAIT.
    pub record: TransitionRecord,
}

/// A call that a task made on a socket. The kernel side keeps it by the address of `struct sock` until the
/// socket is closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct CallRecord {
    /// CLOCK_MONOTONIC of the call, in nanoseconds.
    pub ktime_ns: u64,
    /// Thread group id of the caller, in the reader's pid namespace, or with [`HOST_PID`].
    pub pid: u32,
    /// Thread id of the caller, likewise.
    pub tid: u32,
    /// Name of the caller at that time, NUL-padded.
    pub comm: Sixteen,
    /// Key of the caller's user stack in the table of stacks; negative when there is none.
    pub stack_id: i32,
    /// Which call: [`CALL_ACCEPT`], [`CALL_CONNECT`] or [`CALL_READ`].
    pub call: u32,
    /// How often such a call was made on the socket after this one, at least; by whomever.
    pub repeated: u64,
}

/// What was on the user stack of a call, from which user space finds out the callers. Behind it are
/// [`MOST_SCRIPT_FRAMES`](crate::interpreter::MOST_SCRIPT_FRAMES) frames of an interpreter, and behind these the copy of the stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct StackRecord {
    /// The address of the `struct sock`, and the time of the call: as in its [`CallRecord`].
    pub sock: u64,
    pub ktime_ns: u64,
    /// Thread group id of the caller, as in its [`CallRecord`].
    pub pid: u32,
    /// Which chunks of the stack could be read: bit 0 is that of the stack pointer, whose address is the chunk's multiple at
    /// or below it. So no chunk lies on two pages, of which one may not be there.
    pub chunks: u32,
    /// Registers of the caller at the system call: the program counter, the stack pointer, the frame pointer, and the link
    /// register where there is one. All zero where no stacks are copied.
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
    pub lr: u64,
    /// Where the main thread's stack ends, which tells a program from one that the process executed later (`start_stack` of
    /// `struct mm_struct`); 0 when not known.
    pub stack_end: u64,
    /// How many of the frames that follow mean something.
    pub script: ScriptFrames,
}

/// Bytes of a stack that are read in one go: all of them or none.
pub const STACK_CHUNK: usize = 1024;
/// Most bytes of a stack.
pub const STACK_BYTES: usize = 16 * STACK_CHUNK;

/// [`CallRecord::call`]: accept(), which opened the socket.
pub const CALL_ACCEPT: u32 = 1;
/// [`CallRecord::call`]: connect(), which opened the socket.
pub const CALL_CONNECT: u32 = 2;
/// [`CallRecord::call`]: a read, which found the end of file.
pub const CALL_READ: u32 = 3;

/// One descriptor of one process that refers to a TCP socket, from `iter/task_file`. It has the fields of the kernel's
/// structures as they are: the verifier walks every branch of the program each time that the tool starts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct HolderRecord {
    /// The socket's cookie; 0 when it has none, and the program did not give it one.
    pub cookie: u64,
    /// Address of the kernel's `struct sock`. The tool never shows it.
    pub sock: u64,
    /// What only TCP sockets have; zeros for MPTCP.
    pub tcp: TcpFields,
    /// `skc_v6_rcv_saddr`, the local address of an IPv6 socket.
    pub laddr_v6: Sixteen,
    /// `skc_v6_daddr`, the remote address of an IPv6 socket.
    pub raddr_v6: Sixteen,
    /// `skc_rcv_saddr`, the local address of an IPv4 socket in network byte order.
    pub laddr: u32,
    /// `skc_daddr`, the remote address of an IPv4 socket in network byte order.
    pub raddr: u32,
    /// Inode number of the socket's network namespace.
    pub netns: u32,
    /// Index of the interface that the socket is bound to; 0 when none.
    pub interface: u32,
    /// Connections in a listener's accept queue (`sk_ack_backlog`).
    pub backlog: u32,
    /// The socket's pending error (`sk_err`, an errno).
    pub error: u32,
    /// Process (thread group id) in the reader's pid namespace, or with [`HOST_PID`].
    pub pid: u32,
    /// Descriptor number in that process.
    pub fd: u32,
    /// `skc_num`, the local port in host byte order; 0 at the end of a connection.
    pub lport: u16,
    /// `skc_dport`, the remote port in network byte order; 0 for a listener.
    pub rport: u16,
    /// `IPPROTO_TCP` or `IPPROTO_MPTCP` of include/uapi/linux/in.h.
    pub protocol: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// State, a number of `include/net/tcp_states.h`.
    pub state: u8,
}

/// The fields of a `struct tcp_sock` that tell how a connection stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct TcpFields {
    /// The next sequence number that is expected of the peer; 0 before there was one.
    pub rcv_nxt: u32,
    /// The sequence number of the last segment that updated the send window.
    pub snd_wl1: u32,
    /// The next sequence number that will be sent.
    pub snd_nxt: u32,
    /// The first sequence number that the peer has not acknowledged.
    pub snd_una: u32,
    /// The sequence number behind the last byte that was written.
    pub write_seq: u32,
    /// The local port in network byte order (`inet_sport`), which the end of a connection leaves.
    pub sport: u16,
    /// Which timer runs (`icsk_pending`).
    pub timer: u8,
    /// `fastreuse` of the bucket that the local port is in; 0 when there is none.
    pub port_reuse: i8,
}

impl TcpFields {
    /// Of what is no TCP socket.
    pub const NONE: Self = Self {
        rcv_nxt: 0,
        snd_wl1: 0,
        snd_nxt: 0,
        snd_una: 0,
        write_seq: 0,
        sport: 0,
        timer: 0,
        port_reuse: 0,
    };
}

/// `ICSK_TIME_PROBE0` of include/net/inet_connection_sock.h: the timer of a sender whose peer has closed its window.
pub const PROBES_WINDOW: u8 = 3;

/// `include/linux/socket.h`
pub const AF_INET: u16 = 2;

/// `include/uapi/linux/in.h`
pub const IPPROTO_TCP: u16 = 6;
/// `include/uapi/linux/in.h`
pub const IPPROTO_MPTCP: u16 = 262;

/// A flag among the states to visit, in the bit of state 0, which does not exist: give MPTCP listeners
/// without a cookie one.
pub const WITH_LISTENER_COOKIES: u32 = 1;

/// The counters of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Counters {
    /// Transitions that found no room, or no buffer of their CPU.
    pub lost: u64,
    /// Sockets that found no room in a table: a dwell time or a caller is unknown.
    pub untracked: u64,
    /// Sockets whose opener was not kept, because its process opened too many at once.
    pub openers_skipped: u64,
    /// Stacks that were not copied, because there was no room, or more of a process than are copied.
    pub stacks_dropped: u64,
}

/// What passed the classic tracepoint on one CPU, and how often its program ran there.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Passes {
    /// Transitions of all sockets, whatever a filter says.
    pub passed: u64,
    /// Runs of the program. The kernel leaves out those that interrupt another program on their CPU.
    pub ran: u64,
}

/// A connection in an accept queue, and a descriptor of its listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct WaitingRecord {
    /// The connection's cookie; 0 when it has none yet.
    pub cookie: u64,
    /// Process (thread group id) that holds the listener, in the reader's pid namespace, or with [`HOST_PID`].
    pub pid: u32,
    /// Descriptor number of the listener in that process.
    pub fd: u32,
}

/// An entry in the wait queue of a socket in CLOSE_WAIT. Where it is no task that waits, the numbers mean nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct SleeperRecord {
    /// The socket's cookie.
    pub cookie: u64,
    /// The process: a thread group id in the reader's pid namespace, or with [`HOST_PID`] in the root one.
    pub tgid: u32,
    /// The thread, numbered in the same way.
    pub pid: u32,
}

/// The latest system call of a thread that runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct RunningRecord {
    /// The process: a thread group id in the reader's pid namespace, or with [`HOST_PID`] in the root one.
    pub tgid: u32,
    /// The thread, numbered in the same way.
    pub pid: u32,
    /// The number of the call as this architecture has it; -1 where something else, as a timer, led into the kernel
    /// since.
    pub call: i32,
    pub padding: u32,
    /// Its first two arguments.
    pub first: u64,
    pub second: u64,
    /// What it returned. While it has not, `-ENOSYS` on x86-64, and the first argument on aarch64.
    pub result: i64,
}

const _: () = {
    assert!(size_of::<RunningRecord>() == 40);
    assert!(size_of::<SleeperRecord>() == 16);
    assert!(size_of::<Sixteen>() == COMM_LENGTH);
    assert!(size_of::<TransitionRecord>() == 112);
    assert!(size_of::<Arrival>() == 128);
    assert!(core::mem::offset_of!(TransitionRecord, laddr) == 40);
    assert!(core::mem::offset_of!(TransitionRecord, netns) == 72);
    assert!(core::mem::offset_of!(TransitionRecord, oncpu_comm) == 88);
    assert!(core::mem::offset_of!(TransitionRecord, old_state) == 104);
    assert!(size_of::<CallRecord>() == 48);
    assert!(size_of::<StackRecord>() == 88);
    assert!(size_of::<HolderRecord>() == 112);
    assert!(size_of::<WaitingRecord>() == 16);
    assert!(size_of::<Counters>() == 32);
};
