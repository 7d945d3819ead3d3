//! Which kernel fields the programs read, and where this kernel has them.

use tcptrace_ebpf::config::{ABSENT, KernelOffsets};

use super::btf::{Btf, Malformed};

/// What could not be found out about this kernel's structures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OffsetsError {
    /// The BTF could not be read as such.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field without which the programs are blind.
    #[error("this kernel's BTF has no field `{0}`")]
    Missing(&'static str),
}

/// Looks the fields up in the kernel's BTF.
///
/// # Errors
/// When a field that every supported kernel has is not there.
pub fn find(btf: &Btf<'_>) -> Result<KernelOffsets, OffsetsError> {
    let [sock, inet_sock, tcp_sock, net, cgroup, kernfs_node, socket, task, files, fdtable, file] =
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    let [connection, request] = [11, 12];
    let offset = btf.offsets([
        "sock",
        "inet_sock",
        "tcp_sock",
        "net",
        "cgroup",
        "kernfs_node",
        "socket",
        "task_struct",
        "files_struct",
        "fdtable",
        "file",
        "inet_connection_sock",
        "request_sock",
    ]);
    let needed = |structure: usize, path: &[&'static str]| {
        let name = path.last().copied().unwrap_or_default();
        offset(structure, path).ok_or(OffsetsError::Missing(name))
    };
    let optional = |structure: usize, path: &[&str]| offset(structure, path).unwrap_or(ABSENT);
    Ok(KernelOffsets {
        sock_family: needed(sock, &["__sk_common", "skc_family"])?,
        sock_state: needed(sock, &["__sk_common", "skc_state"])?,
        sock_dport: needed(sock, &["__sk_common", "skc_dport"])?,
        sock_num: needed(sock, &["__sk_common", "skc_num"])?,
        sock_daddr: needed(sock, &["__sk_common", "skc_daddr"])?,
        sock_rcv_saddr: needed(sock, &["__sk_common", "skc_rcv_saddr"])?,
        // Absent in a kernel without IPv6.
        sock_v6_daddr: optional(sock, &["__sk_common", "skc_v6_daddr"]),
        sock_v6_rcv_saddr: optional(sock, &["__sk_common", "skc_v6_rcv_saddr"]),
        sock_cookie: needed(sock, &["__sk_common", "skc_cookie"])?,
        sock_net: needed(sock, &["__sk_common", "skc_net", "net"])?,
        sock_protocol: needed(sock, &["sk_protocol"])?,
        sock_error: needed(sock, &["sk_err"])?,
        // Absent without CONFIG_SOCK_CGROUP_DATA, or spelled as a plain word before Linux 5.16.
        sock_cgroup: optional(sock, &["sk_cgrp_data", "cgroup"]),
        sock_ack_backlog: needed(sock, &["sk_ack_backlog"])?,
        inet_sport: needed(inet_sock, &["inet_sport"])?,
        // Absent before Linux 5.6 and without CONFIG_MPTCP.
        tcp_is_mptcp: optional(tcp_sock, &["is_mptcp"]),
        icsk_accept_head: needed(connection, &["icsk_accept_queue", "rskq_accept_head"])?,
        request_next: needed(request, &["dl_next"])?,
        request_sock: needed(request, &["sk"])?,
        tcp_rcv_nxt: needed(tcp_sock, &["rcv_nxt"])?,
        tcp_copied_seq: needed(tcp_sock, &["copied_seq"])?,
        tcp_snd_wl1: needed(tcp_sock, &["snd_wl1"])?,
        net_inum: needed(net, &["ns", "inum"])?,
        cgroup_kn: optional(cgroup, &["kn"]),
        kernfs_id: optional(kernfs_node, &["id"]),
        socket_sk: needed(socket, &["sk"])?,
        task_tgid: needed(task, &["tgid"])?,
        task_flags: needed(task, &["flags"])?,
        task_files: needed(task, &["files"])?,
        files_fdt: needed(files, &["fdt"])?,
        fdtable_fd: needed(fdtable, &["fd"])?,
        file_private_data: needed(file, &["private_data"])?,
    })
}
