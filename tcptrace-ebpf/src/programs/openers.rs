//! Keeps who opened a socket, and from which stack, from connect() or accept() until the socket is
//! closed: a socket may leak long after, and its opener may have exited. Calls through io_uring are not
//! seen.

use aya_ebpf::{
    EbpfContext as _,
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_task, bpf_ktime_get_ns},
    macros::{btf_map, tracepoint},
    programs::{TracePointContext, tracing::StackIdContext},
};
use tcptrace_ebpf::{
    filter::{self, Endpoints},
    record::{AF_INET6, CALL_ACCEPT, CallRecord, IPPROTO_MPTCP, IPPROTO_TCP, Sixteen, mapped},
};

use crate::{
    budgets::{self, For},
    calls::{self, Calls},
    probe,
    settings::{CONFIG, config, is_absent, kernel},
    transition::count,
};

/// The call that opened each socket. User space sets the size when it loads the object.
#[btf_map]
static OPENERS: Calls<1> = Calls::new();

/// Whether user space wants openers.
#[inline(always)]
pub(crate) fn are_tracked() -> bool {
    config!(track_openers) != 0
}

/// Whether the opener of a socket is to be kept: takes it from the budget of the process.
#[inline(always)]
pub(crate) fn take_budget() -> bool {
    let is_within = budgets::take(For::Openers);
    if !is_within {
        count(|counters| counters.openers_skipped += 1);
    }
    is_within
}

/// Remembers the current task as the opener of `sock`, by `call` (`CALL_*`).
#[inline(always)]
pub(crate) fn remember<C: StackIdContext>(context: &C, sock: u64, call: u32) {
    // SAFETY: the helper takes no pointer.
    let now = unsafe { bpf_ktime_get_ns() };
    // Of a burst, all callers are known, but not all their stacks are copied.
    calls::remember(&OPENERS, context, sock, call, now, budgets::take(For::Stacks));
}

/// Openers of sockets whose connection is over though nobody has closed them. The kernel does not reuse the address of
/// such a socket, and each socket that comes to its end at an address replaces or removes what is kept there. User space sets
/// the size when it loads the object.
#[btf_map]
static OPENERS_OF_OVER: LruHashMap<u64, CallRecord, 1> = LruHashMap::new();

/// The connection of a socket has ended: forgets its opener, or keeps it aside if the socket `is_over`.
#[inline(always)]
pub(crate) fn end(sock: u64, is_over: bool) {
    let opener = if is_over { OPENERS.get_ptr(sock) } else { None };
    match opener {
        // SAFETY: the pointer is that of a live map value, which nobody changes: the socket has an opener already.
        Some(opener) => drop(OPENERS_OF_OVER.insert(sock, unsafe { &*opener }, 0)),
        None if is_over => drop(OPENERS_OF_OVER.remove(sock)),
        None => {}
    }
    forget(sock);
}

/// Forgets the opener of a closed socket.
#[inline(always)]
pub(crate) fn forget(sock: u64) {
    calls::forget(&OPENERS, sock);
}

/// Follows a kernel pointer at `base + offset`; 0 when the read fails.
#[inline(always)]
fn follow(base: u64, offset: usize) -> u64 {
    probe::read(base, offset)
}

/// Finds the socket by the descriptor that accept() returns, in the caller's descriptor table.
#[inline(always)]
fn remember_accepted(context: &TracePointContext) {
    /// Offset of the return value in the record of every `sys_exit_*` tracepoint.
    const RETURN_VALUE: usize = 16;
    if !are_tracked() || is_absent(kernel!(task_files)) {
        return;
    }
    let base = context.as_ptr() as u64;
    let descriptor = follow(base, RETURN_VALUE) as i64;
    // What a filter leaves out is known only of the socket, and costs the budget nothing.
    let is_filtered = filter::restricts_sockets(&CONFIG.filter);
    if descriptor < 0 || (!is_filtered && !take_budget()) {
        return;
    }
    // SAFETY: the helper takes no pointer.
    let files = follow(unsafe { bpf_get_current_task() }, kernel!(task_files));
    let table = follow(follow(files, kernel!(files_fdt)), kernel!(fdtable_fd));
    let file = follow(table + descriptor as u64 * 8, 0);
    let sock = follow(follow(file, kernel!(file_private_data)), kernel!(socket_sk));
    let protocol: u16 = probe::read(sock, kernel!(sock_protocol));
    if !matches!(protocol, IPPROTO_TCP | IPPROTO_MPTCP) {
        return;
    }
    if !is_filtered || (is_admitted(sock) && take_budget()) {
        remember(context, sock, CALL_ACCEPT);
    }
}

/// Whether the filter admits the connection of the `struct sock` at this address.
#[inline(always)]
fn is_admitted(sock: u64) -> bool {
    let netns = probe::read(follow(sock, kernel!(sock_net)), kernel!(net_inum));
    filter::admits_netns(&CONFIG.filter, netns) && filter::admits_endpoints(&CONFIG.filter, &endpoints(sock))
}

/// Addresses and ports of the `struct sock` at this address.
#[inline(always)]
fn endpoints(sock: u64) -> Endpoints {
    let is_v6 =
        probe::read::<u16>(sock, kernel!(sock_family)) == AF_INET6 && !is_absent(kernel!(sock_v6_daddr));
    let (laddr, raddr): (Sixteen, Sixteen) = if is_v6 {
        (probe::read(sock, kernel!(sock_v6_rcv_saddr)), probe::read(sock, kernel!(sock_v6_daddr)))
    } else {
        (mapped(probe::read(sock, kernel!(sock_rcv_saddr))), mapped(probe::read(sock, kernel!(sock_daddr))))
    };
    Endpoints {
        laddr,
        raddr,
        lport: probe::read(sock, kernel!(sock_num)),
        rport: u16::from_be(probe::read(sock, kernel!(sock_dport))),
    }
}

/// The end of accept4(), which some C libraries also call for accept(), and of accept(): both are told alike.
#[tracepoint]
fn accepted(context: TracePointContext) -> u32 {
    remember_accepted(&context);
    // 0 would hide the event from perf users.
    1
}
