//! What user space tells a program when it loads it: which transitions to report, and where the kernel
//! keeps the fields that the program reads. The verifier sees constants, so a feature that is off costs
//! nothing. Layout only: no rule is applied here.

pub use crate::kernel_fields::{ABSENT, KernelField, KernelOffsets};

/// After so long without a copy of a stack, the next one wakes the reader, who looks less often then.
pub const PAUSE_NS: u64 = 1_000_000_000;

/// The programs read this many bytes of a record of `sock:inet_sock_set_state`: the 72 that kernels
/// write, and room for a longer header.
pub const EVENT_BYTES: usize = 80;

/// How many port rules, address rules and namespaces a filter holds, of each.
pub const FILTER_RULES: usize = 8;

/// [`PortRule::sides`]: the rule applies to the local port.
pub const SIDE_LOCAL: u16 = 1;
/// [`PortRule::sides`]: the rule applies to the remote port.
pub const SIDE_REMOTE: u16 = 2;

/// Offsets in bytes into a record of the classic tracepoint `sock:inet_sock_set_state`. User space reads
/// them from the tracepoint's `format` file.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct FormatOffsets {
    /// `skaddr`, 8 bytes
    pub skaddr: u32,
    /// `oldstate`, 4 bytes
    pub oldstate: u32,
    /// `newstate`, 4 bytes
    pub newstate: u32,
    /// `sport`, 2 bytes, host byte order
    pub sport: u32,
    /// `dport`, 2 bytes, host byte order
    pub dport: u32,
    /// `family`, 2 bytes
    pub family: u32,
    /// `protocol`, `protocol_size` bytes
    pub protocol: u32,
    /// 1 before Linux 5.6, 2 since
    pub protocol_size: u32,
    /// `saddr_v6`, 16 bytes; the v4-mapped address when `family` is AF_INET
    pub saddr_v6: u32,
    /// `daddr_v6`, 16 bytes; the v4-mapped address when `family` is AF_INET
    pub daddr_v6: u32,
}

/// Offsets in bytes into a record of the tracepoint `sock:sock_recv_length`. User space reads them from
/// the tracepoint's `format` file.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct ReceiveOffsets {
    /// `sk`, 8 bytes
    pub sk: u32,
    /// `protocol`, 2 bytes
    pub protocol: u32,
    /// `ret`, 4 bytes: the length received, or a negative errno
    pub ret: u32,
    /// `flags`, 4 bytes: `MSG_*`
    pub flags: u32,
}

/// A port that connections may have, on one side or either.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct PortRule {
    /// Host byte order.
    pub port: u16,
    /// [`SIDE_LOCAL`], [`SIDE_REMOTE`] or both.
    pub sides: u16,
}

/// A range of addresses that either side may have. Network byte order, IPv4 in its v4-mapped form, as
/// two 64-bit words in memory order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct AddressRule {
    /// The network, host bits zero.
    pub network: [u64; 2],
    /// The network mask: ones where an address has to equal the network.
    pub mask: [u64; 2],
}

/// Which transitions to report, and of which sockets to remember calls. Rules of a kind are alternatives; all kinds have to
/// match. Port rules for different sides are different kinds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Filter {
    /// Address rules; the first `address_count` apply.
    pub addresses: [AddressRule; FILTER_RULES],
    /// Port rules; the first `port_count` apply.
    pub ports: [PortRule; FILTER_RULES],
    /// Bit *n* set: report transitions out of and into state *n*.
    pub states: u32,
    /// 4, 6, or 0 for both. A v4-mapped address counts as 4.
    pub family: u32,
    /// Address rules that apply; 0 = every address.
    pub address_count: u32,
    /// Port rules that apply; 0 = every port.
    pub port_count: u32,
    /// Inode numbers of network namespaces; the first `netns_count` apply.
    pub netns: [u32; FILTER_RULES],
    /// Namespaces that apply; 0 = every namespace.
    pub netns_count: u32,
    /// Always zero.
    pub padding: u32,
}

/// Everything that an object is loaded with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Config {
    /// Which transitions to report.
    pub filter: Filter,
    /// Where the kernel keeps its fields; all [`ABSENT`] on a host without BTF.
    pub kernel: KernelOffsets,
    /// Where a record of the classic tracepoint keeps its fields.
    pub format: FormatOffsets,
    /// Where the record of a receiving call keeps its fields.
    pub receive: ReceiveOffsets,
    /// 1: time every state; 0: only the states of `filter.states`.
    pub track_all_states: u32,
    /// Wakes the reader at most once in this many nanoseconds.
    pub wakeup_interval_ns: u32,
    /// 0: each record names the running task, the socket's cgroup and the pending error. Otherwise
    /// records leave out the cgroup, and have the rest only when the state left is timed and has lasted
    /// at least this many nanoseconds, or for an unknown time.
    pub details_after_ns: u64,
    /// 1: keep who opens sockets, with the stack; 0: do not.
    pub track_openers: u32,
    /// After a burst, each process has one opener kept on each CPU in this many nanoseconds, and one stack of a read
    /// copied.
    pub call_interval_ns: u32,
    /// 1: keep who first reads the end of file of a socket in CLOSE_WAIT, with the stack; 0: do not.
    pub track_eof_reads: u32,
    /// Inode number of the pid namespace whose numbers the reader knows processes by; 0: the root one.
    pub pid_namespace: u32,
    /// 1: report connections that are ended by others while nobody has closed the socket, whatever the filter's
    /// states.
    pub report_over: u32,
    /// Bytes of the user stack to copy for each call that is remembered, in steps of [`STACK_CHUNK`](crate::record::STACK_CHUNK); 0: none.
    pub stack_bytes: u32,
    /// Where `struct pt_regs` has what a caller is found out from.
    pub registers: RegisterOffsets,
    /// 1: read the frames of interpreters too, of processes that are known to run one.
    pub read_frames: u32,
    /// How far pthread_self() may lie below the thread pointer, in bytes: where it points to what is in front of that
    /// (aarch64), more than 0.
    pub thread_head_bytes: u32,
    /// 1: programs may read the kernel's memory at addresses without a type. A kernel that is locked down for
    /// confidentiality refuses them.
    pub probe_reads: u32,
    /// Wakes the reader only when so many bytes wait.
    pub wakeup_bytes: u32,
    /// A socket that leaves CLOSE_WAIT after less than this many nanoseconds leaves no record, as long as user space reads
    /// the arrivals; 0: each does.
    pub arrival_ns: u64,
}

/// Offsets in bytes into `struct pt_regs` of this architecture.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct RegisterOffsets {
    pub pc: u32,
    pub sp: u32,
    pub fp: u32,
    /// [`ABSENT`] where the architecture has no link register.
    pub lr: u32,
    /// The number of the latest system call, 32 bits of it; -1 where something else led into the kernel since.
    pub call: u32,
    /// Its first two arguments, 64 bits wide each.
    pub first: u32,
    pub second: u32,
    /// What it returned, 64 bits wide.
    pub result: u32,
}

impl RegisterOffsets {
    /// For programs that copy no stacks.
    pub const UNUSED: Self = Self {
        pc: ABSENT,
        sp: ABSENT,
        fp: ABSENT,
        lr: ABSENT,
        call: ABSENT,
        first: ABSENT,
        second: ABSENT,
        result: ABSENT,
    };
    /// `struct pt_regs` of arch/x86/include/asm/ptrace.h.
    pub const X86_64: Self =
        Self { pc: 128, sp: 152, fp: 32, lr: ABSENT, call: 120, first: 112, second: 104, result: 80 };
    /// `struct pt_regs` of arch/arm64/include/asm/ptrace.h.
    pub const AARCH64: Self =
        Self { pc: 256, sp: 248, fp: 232, lr: 240, call: 280, first: 272, second: 8, result: 0 };
    /// Those of this architecture; unused ones where the tool knows none.
    #[cfg(not(target_arch = "bpf"))]
    pub const OF_THIS_MACHINE: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else if cfg!(target_arch = "aarch64") {
        Self::AARCH64
    } else {
        Self::UNUSED
    };
}

impl Config {
    /// Reports nothing and knows no offset: what is compiled into the objects, and what user space
    /// starts from.
    pub const NOTHING: Self = Self {
        filter: Filter {
            addresses: [AddressRule { network: [0; 2], mask: [0; 2] }; FILTER_RULES],
            ports: [PortRule { port: 0, sides: 0 }; FILTER_RULES],
            states: 0,
            family: 0,
            address_count: 0,
            port_count: 0,
            netns: [0; FILTER_RULES],
            netns_count: 0,
            padding: 0,
        },
        kernel: KernelOffsets::UNKNOWN,
        format: FormatOffsets::UNUSED,
        receive: ReceiveOffsets::UNUSED,
        track_all_states: 0,
        wakeup_interval_ns: 0,
        details_after_ns: 0,
        track_openers: 0,
        call_interval_ns: 0,
        track_eof_reads: 0,
        pid_namespace: 0,
        report_over: 0,
        stack_bytes: 0,
        registers: RegisterOffsets::UNUSED,
        read_frames: 0,
        thread_head_bytes: 0,
        probe_reads: 0,
        wakeup_bytes: 0,
        arrival_ns: 0,
    };
}

impl FormatOffsets {
    /// For programs that do not use the classic tracepoint.
    pub const UNUSED: Self = Self {
        skaddr: ABSENT,
        oldstate: ABSENT,
        newstate: ABSENT,
        sport: ABSENT,
        dport: ABSENT,
        family: ABSENT,
        protocol: ABSENT,
        protocol_size: 0,
        saddr_v6: ABSENT,
        daddr_v6: ABSENT,
    };
}

impl ReceiveOffsets {
    /// For programs that do not watch reads of the end of file.
    pub const UNUSED: Self = Self { sk: ABSENT, protocol: ABSENT, ret: ABSENT, flags: ABSENT };
}
