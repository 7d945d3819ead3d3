//! What a program is told when it is loaded: where the kernel keeps the fields it reads, and which
//! transitions are wanted. The verifier sees these as constants, so what is not wanted costs nothing.

/// An offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// So many bytes of the record of `sock:inet_sock_set_state` are read: all that kernels write (72), and room
/// for a longer header.
pub const EVENT_BYTES: usize = 96;

/// How many port rules, and how many address rules, a filter holds.
pub const FILTER_RULES: usize = 8;

/// [`PortRule::sides`]: the rule speaks of the local port.
pub const SIDE_LOCAL: u16 = 1;
/// [`PortRule::sides`]: the rule speaks of the remote port.
pub const SIDE_REMOTE: u16 = 2;

/// Offsets in bytes into the running kernel's structures, or [`ABSENT`].
///
/// `sock_*` count from the start of `struct sock`, `inet_*` and `tcp_*` too (each structure begins
/// with the smaller one).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct KernelOffsets {
    /// `sock.__sk_common.skc_family`
    pub sock_family: u32,
    /// `sock.__sk_common.skc_state`
    pub sock_state: u32,
    /// `sock.__sk_common.skc_dport`
    pub sock_dport: u32,
    /// `sock.__sk_common.skc_num`
    pub sock_num: u32,
    /// `sock.__sk_common.skc_daddr`
    pub sock_daddr: u32,
    /// `sock.__sk_common.skc_rcv_saddr`
    pub sock_rcv_saddr: u32,
    /// `sock.__sk_common.skc_v6_daddr`
    pub sock_v6_daddr: u32,
    /// `sock.__sk_common.skc_v6_rcv_saddr`
    pub sock_v6_rcv_saddr: u32,
    /// `sock.__sk_common.skc_cookie`
    pub sock_cookie: u32,
    /// `sock.__sk_common.skc_net.net`
    pub sock_net: u32,
    /// `sock.sk_protocol`, 16 bits wide
    pub sock_protocol: u32,
    /// `sock.sk_err`, 32 bits wide
    pub sock_error: u32,
    /// `sock.sk_cgrp_data.cgroup`
    pub sock_cgroup: u32,
    /// `sock.sk_ack_backlog`, 32 bits wide
    pub sock_ack_backlog: u32,
    /// `inet_sock.inet_sport`
    pub inet_sport: u32,
    /// `inet_connection_sock.icsk_accept_queue.rskq_accept_head`
    pub icsk_accept_head: u32,
    /// `request_sock.dl_next`
    pub request_next: u32,
    /// `request_sock.sk`
    pub request_sock: u32,
    /// `tcp_sock.is_mptcp`
    pub tcp_is_mptcp: u32,
    /// `tcp_sock.rcv_nxt`
    pub tcp_rcv_nxt: u32,
    /// `tcp_sock.copied_seq`
    pub tcp_copied_seq: u32,
    /// `tcp_sock.snd_wl1`
    pub tcp_snd_wl1: u32,
    /// `net.ns.inum`
    pub net_inum: u32,
    /// `cgroup.kn`
    pub cgroup_kn: u32,
    /// `kernfs_node.id`
    pub kernfs_id: u32,
    /// `socket.sk`
    pub socket_sk: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.flags`
    pub task_flags: u32,
    /// `task_struct.files`
    pub task_files: u32,
    /// `files_struct.fdt`
    pub files_fdt: u32,
    /// `fdtable.fd`
    pub fdtable_fd: u32,
    /// `file.private_data`
    pub file_private_data: u32,
}

/// Offsets in bytes into a record of the classic tracepoint `sock:inet_sock_set_state`, read from its
/// `format` file.
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

/// Offsets in bytes into a record of the tracepoint `sock:sock_recv_length`, read from its `format` file.
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
    /// `ret`, 4 bytes: the length received, or an errno, negative
    pub ret: u32,
    /// `flags`, 4 bytes: `MSG_*`
    pub flags: u32,
}

/// One port that is wanted, on one side or either.
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

/// One range of addresses that is wanted, on either side. All in network byte order, IPv4 in its
/// v4-mapped form, as two 64-bit words in memory order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct AddressRule {
    /// The network, host bits zero.
    pub network: [u64; 2],
    /// Ones where an address has to equal the network.
    pub mask: [u64; 2],
}

/// Which transitions are wanted. Rules of a kind are alternatives; the kinds have to hold together. Port
/// rules on other sides are of another kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Filter {
    /// Address rules; the first `address_count` hold.
    pub addresses: [AddressRule; FILTER_RULES],
    /// Port rules; the first `port_count` hold.
    pub ports: [PortRule; FILTER_RULES],
    /// Bit *n* set: transitions out of or into state *n* are wanted.
    pub states: u32,
    /// 4, 6, or 0 for both. A v4-mapped address counts as 4.
    pub family: u32,
    /// Address rules in force; 0 = every address.
    pub address_count: u32,
    /// Port rules in force; 0 = every port.
    pub port_count: u32,
}

/// Everything a transition program is told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Config {
    /// Which transitions are wanted.
    pub filter: Filter,
    /// Where the kernel keeps things; all [`ABSENT`] on a host without BTF.
    pub kernel: KernelOffsets,
    /// Where the classic tracepoint's record has things.
    pub format: FormatOffsets,
    /// Where the record of a receiving call has things.
    pub receive: ReceiveOffsets,
    /// 1: time every state; 0: only the states of `filter.states`.
    pub track_all_states: u32,
    /// A reader is woken at most once in this many nanoseconds.
    pub wakeup_interval_ns: u32,
    /// 0: each record says which task ran, in which cgroup the socket is and which error is pending.
    /// Otherwise it leaves out the cgroup, and has the rest only when the state left is timed and has
    /// lasted at least so many nanoseconds, or nobody knows how long.
    pub details_after_ns: u64,
    /// Beyond those of a burst, remember who opens a socket, and the stack it is opened from, for one of
    /// each process on each CPU in so many nanoseconds; 0: never.
    pub opener_interval_ns: u32,
    /// 1: remember who reads the end of file of a socket in CLOSE_WAIT, and from which stack; 0: do not.
    pub track_eof_reads: u32,
}

impl KernelOffsets {
    /// Nothing is known of the kernel's structures.
    pub const UNKNOWN: Self = Self {
        sock_family: ABSENT,
        sock_state: ABSENT,
        sock_dport: ABSENT,
        sock_num: ABSENT,
        sock_daddr: ABSENT,
        sock_rcv_saddr: ABSENT,
        sock_v6_daddr: ABSENT,
        sock_v6_rcv_saddr: ABSENT,
        sock_cookie: ABSENT,
        sock_net: ABSENT,
        sock_protocol: ABSENT,
        sock_error: ABSENT,
        sock_cgroup: ABSENT,
        sock_ack_backlog: ABSENT,
        inet_sport: ABSENT,
        icsk_accept_head: ABSENT,
        request_next: ABSENT,
        request_sock: ABSENT,
        tcp_is_mptcp: ABSENT,
        tcp_rcv_nxt: ABSENT,
        tcp_copied_seq: ABSENT,
        tcp_snd_wl1: ABSENT,
        net_inum: ABSENT,
        cgroup_kn: ABSENT,
        kernfs_id: ABSENT,
        socket_sk: ABSENT,
        task_tgid: ABSENT,
        task_flags: ABSENT,
        task_files: ABSENT,
        files_fdt: ABSENT,
        fdtable_fd: ABSENT,
        file_private_data: ABSENT,
    };
}

impl FormatOffsets {
    /// The classic tracepoint is not used.
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
    /// Nobody asks who reads the end of file.
    pub const UNUSED: Self = Self { sk: ABSENT, protocol: ABSENT, ret: ABSENT, flags: ABSENT };
}
