//! The fields of kernel structures that the programs read, each listed once. The list makes
//! [`KernelOffsets`], which the programs are loaded with, and [`KernelOffsets::FIELDS`], by which user
//! space looks the offsets up in BTF. No look-up happens here.

/// The offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Where BTF has a field, and whether the programs can do without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelField {
    /// The structure, without the word `struct`.
    pub structure: &'static str,
    /// Member names from the structure to the field. BTF's anonymous members have no place in it.
    pub path: &'static [&'static str],
    /// Whether every supported kernel has it.
    pub is_needed: bool,
    /// Whether kernels of this architecture have it.
    pub is_of_this_machine: bool,
}

/// Makes the structure, its table and its constructor from lines of the form
/// `field: structure.member.member, needed;` (or `optional`, or the one architecture that may have it).
macro_rules! kernel_fields {
    ($($(#[$doc:meta])* $field:ident: $structure:ident $(. $member:ident)+, $need:ident;)+) => {
        /// Words that make the offsets an even number, so that what follows them is aligned.
        const PADDING: usize = [$(stringify!($field)),+].len() % 2;

        /// Offsets in bytes into the running kernel's structures, or [`ABSENT`]. Each counts from the
        /// start of the structure named first.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(
            not(target_arch = "bpf"),
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct KernelOffsets {
            $(
                #[doc = concat!("`", stringify!($structure), $(".", stringify!($member),)+ "`")]
                $(#[$doc])*
                pub $field: u32,
            )+
            padding: [u32; PADDING],
        }

        impl KernelOffsets {
            /// Nothing is known of the kernel's structures.
            pub const UNKNOWN: Self = Self { $($field: ABSENT,)+ padding: [0; PADDING] };

            /// Every field, in the order of the structure.
            pub const FIELDS: &[KernelField] = &[$(
                KernelField {
                    structure: stringify!($structure),
                    path: &[$(stringify!($member)),+],
                    is_needed: kernel_fields!(@is_needed $need),
                    is_of_this_machine: kernel_fields!(@is_of_this_machine $need),
                },
            )+];

            /// Asks `offset_of` for each of [`Self::FIELDS`].
            #[must_use]
            pub fn from_fn(offset_of: impl FnMut(&'static KernelField) -> u32) -> Self {
                let mut offsets = Self::FIELDS.iter().map(offset_of);
                Self { $($field: offsets.next().unwrap_or(ABSENT),)+ padding: [0; PADDING] }
            }
        }
    };
    (@is_needed needed) => { true };
    (@is_needed $other:ident) => { false };
    (@is_of_this_machine x86_64) => { cfg!(target_arch = "x86_64") };
    (@is_of_this_machine aarch64) => { cfg!(target_arch = "aarch64") };
    (@is_of_this_machine $other:ident) => { true };
}

kernel_fields! {
    sock_family: sock.__sk_common.skc_family, needed;
    sock_state: sock.__sk_common.skc_state, needed;
    sock_dport: sock.__sk_common.skc_dport, needed;
    sock_num: sock.__sk_common.skc_num, needed;
    sock_daddr: sock.__sk_common.skc_daddr, needed;
    sock_rcv_saddr: sock.__sk_common.skc_rcv_saddr, needed;
    /// Absent in a kernel without IPv6.
    sock_v6_daddr: sock.__sk_common.skc_v6_daddr, optional;
    /// Absent in a kernel without IPv6.
    sock_v6_rcv_saddr: sock.__sk_common.skc_v6_rcv_saddr, optional;
    /// 32 bits wide.
    sock_interface: sock.__sk_common.skc_bound_dev_if, optional;
    sock_cookie: sock.__sk_common.skc_cookie, needed;
    sock_net: sock.__sk_common.skc_net.net, needed;
    /// 16 bits wide.
    sock_protocol: sock.sk_protocol, needed;
    /// 16 bits wide; a bit field before Linux 5.6.
    sock_type: sock.sk_type, optional;
    /// Null once close() has left the socket to the kernel.
    sock_socket: sock.sk_socket, needed;
    /// 32 bits wide.
    sock_error: sock.sk_err, needed;
    /// Absent without CONFIG_SOCK_CGROUP_DATA, or spelled as a plain word before Linux 5.16.
    sock_cgroup: sock.sk_cgrp_data.cgroup, optional;
    /// 32 bits wide.
    sock_ack_backlog: sock.sk_ack_backlog, needed;
    inet_sport: inet_sock.inet_sport, needed;
    icsk_accept_head: inet_connection_sock.icsk_accept_queue.rskq_accept_head, needed;
    /// The timer that is set, 8 bits wide.
    icsk_pending: inet_connection_sock.icsk_pending, needed;
    icsk_bind_hash: inet_connection_sock.icsk_bind_hash, needed;
    /// 8 bits wide, signed.
    bind_bucket_fastreuse: inet_bind_bucket.fastreuse, needed;
    request_next: request_sock.dl_next, needed;
    request_sock: request_sock.sk, needed;
    /// Absent before Linux 5.6 and without CONFIG_MPTCP.
    tcp_is_mptcp: tcp_sock.is_mptcp, optional;
    tcp_rcv_nxt: tcp_sock.rcv_nxt, needed;
    tcp_snd_nxt: tcp_sock.snd_nxt, needed;
    tcp_snd_una: tcp_sock.snd_una, needed;
    tcp_write_seq: tcp_sock.write_seq, needed;
    tcp_copied_seq: tcp_sock.copied_seq, needed;
    tcp_snd_wl1: tcp_sock.snd_wl1, needed;
    net_inum: net.ns.inum, needed;
    /// Absent without CONFIG_CGROUPS.
    cgroup_kn: cgroup.kn, optional;
    /// Absent without CONFIG_KERNFS.
    kernfs_id: kernfs_node.id, optional;
    socket_sk: socket.sk, needed;
    task_tgid: task_struct.tgid, needed;
    task_pid: task_struct.pid, needed;
    /// Sixteen bytes.
    task_comm: task_struct.comm, needed;
    task_flags: task_struct.flags, needed;
    /// 32 bits wide; 0 of a thread that runs, or would if a processor were free. Has another name before Linux 5.14.
    task_state: task_struct.__state, optional;
    task_files: task_struct.files, needed;
    /// This one, and those of pids and their namespaces, translate pids: only readers outside of the root pid namespace
    /// need them.
    task_group_leader: task_struct.group_leader, optional;
    /// Absent before Linux 4.19.
    task_thread_pid: task_struct.thread_pid, optional;
    /// 32 bits wide.
    pid_level: pid.level, optional;
    pid_numbers: pid.numbers, optional;
    /// 32 bits wide.
    upid_nr: upid.nr, optional;
    upid_ns: upid.ns, optional;
    pid_namespace_inum: pid_namespace.ns.inum, optional;
    files_fdt: files_struct.fdt, needed;
    fdtable_fd: fdtable.fd, needed;
    file_private_data: file.private_data, needed;
    /// 64 bits wide; 0 once the last reference is gone. Absent since Linux 6.13.
    file_count: file.f_count, optional;
    /// 64 bits wide; negative once the last reference is gone (include/linux/file_ref.h). Absent before Linux 6.13.
    file_ref: file.f_ref, optional;
    /// Null for a socket that no file refers to.
    socket_file: socket.file, optional;
    sock_wq: sock.sk_wq, optional;
    wait_head: socket_wq.wait.head, optional;
    wait_private: wait_queue_entry.private, optional;
    wait_entry: wait_queue_entry.entry, optional;
    task_mm: task_struct.mm, optional;
    /// Where the arguments of the program begin, which is where the main thread's stack ends.
    mm_start_stack: mm_struct.start_stack, optional;
    /// The thread pointer of a task, by which runtimes know their threads.
    task_fsbase: task_struct.thread.fsbase, x86_64;
    /// The same. Linux saves it when another task runs, so of a thread that has never waited it may be an earlier one.
    task_tp_value: task_struct.thread.uw.tp_value, aarch64;
}

const _: () =
    assert!(size_of::<KernelOffsets>() == size_of::<u32>() * (KernelOffsets::FIELDS.len() + PADDING));
