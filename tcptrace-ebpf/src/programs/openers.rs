//! Keeps who opened a socket, and from which stack, from connect() or accept() until the socket is
//! closed: a socket may leak long after, and its opener may have exited. Calls through io_uring are not
//! seen.

use aya_ebpf::{
    EbpfContext as _,
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns},
    macros::{btf_map, tracepoint},
    programs::{TracePointContext, tracing::StackIdContext},
};
use tcptrace_ebpf::record::{CALL_ACCEPT, CallRecord, OPENER_BUDGETS};

use crate::{
    calls::{self, Calls},
    probe,
    settings::{IPPROTO_MPTCP, IPPROTO_TCP, config, is_absent, kernel},
    transition::count,
};

/// The call that opened each socket.
#[btf_map]
static OPENERS: Calls<262_144> = Calls::new();

/// Capacity of a budget: a process that opens this many sockets in a burst has all of them kept.
const BUDGET_MAX: u64 = 1024;

/// Whether user space wants openers.
#[inline(always)]
pub(crate) fn are_tracked() -> bool {
    config!(opener_interval_ns) != 0
}

/// Takes one opener from the budget of the current process; false when that is empty. Comes before all
/// other work: walking a stack costs about a microsecond, which must not slow down a host that opens tens
/// of thousands of sockets a second. The budget is per process, so that a busy process cannot use up the
/// share of the one that leaks.
#[inline(always)]
pub(crate) fn take_budget() -> bool {
    /// One in this many openers that find the budget empty reads the clock, which costs as much as the
    /// rest of this function.
    const LOOK_EVERY: u64 = 8;
    let process = (bpf_get_current_pid_tgid() >> 32) as usize;
    let mut is_within = false;
    count(|counters| {
        let budget = &mut counters.openers[process % OPENER_BUDGETS];
        if budget.left == 0 && budget.skipped % LOOK_EVERY == 0 {
            // SAFETY: the helper takes no pointer.
            let now = unsafe { bpf_ktime_get_ns() };
            let elapsed = now.wrapping_sub(budget.filled_ns);
            let gained = elapsed.checked_div(u64::from(config!(opener_interval_ns))).unwrap_or(0);
            if gained > 0 {
                budget.left = gained.min(BUDGET_MAX);
                budget.filled_ns = now;
            }
        }
        is_within = budget.left > 0;
        if is_within {
            budget.left -= 1;
        } else {
            budget.skipped += 1;
        }
    });
    is_within
}

/// Remembers the current task as the opener of `sock`, by `call` (`CALL_*`), within the budget.
#[inline(always)]
pub(crate) fn remember<C: StackIdContext>(context: &C, sock: u64, call: u32) {
    // SAFETY: the helper takes no pointer.
    let now = unsafe { bpf_ktime_get_ns() };
    calls::remember(&OPENERS, context, sock, call, now);
}

/// Openers of sockets whose connection is over though nobody has closed them. The kernel does not reuse the address of
/// such a socket, and each socket that comes to its end at an address replaces or removes what is kept there.
#[btf_map]
static OPENERS_OF_OVER: LruHashMap<u64, CallRecord, 16_384> = LruHashMap::new();

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
fn accepted(context: &TracePointContext) {
    /// Offset of the return value in the record of every `sys_exit_*` tracepoint.
    const RETURN_VALUE: usize = 16;
    if !are_tracked() || is_absent(kernel!(task_files)) {
        return;
    }
    let base = context.as_ptr() as u64;
    let descriptor = follow(base, RETURN_VALUE) as i64;
    if descriptor < 0 || !take_budget() {
        return;
    }
    // SAFETY: the helper takes no pointer.
    let files = follow(unsafe { bpf_get_current_task() }, kernel!(task_files));
    let table = follow(follow(files, kernel!(files_fdt)), kernel!(fdtable_fd));
    let file = follow(table + descriptor as u64 * 8, 0);
    let sock = follow(follow(file, kernel!(file_private_data)), kernel!(socket_sk));
    let protocol: u16 = probe::read(sock, kernel!(sock_protocol));
    if matches!(protocol, IPPROTO_TCP | IPPROTO_MPTCP) {
        remember(context, sock, CALL_ACCEPT);
    }
}

/// accept4(), which some C libraries also call for accept().
#[tracepoint(category = "syscalls", name = "sys_exit_accept4")]
fn accepted_by_accept4(context: TracePointContext) -> u32 {
    accepted(&context);
    // 0 would hide the event from perf users.
    1
}

/// accept().
#[tracepoint(category = "syscalls", name = "sys_exit_accept")]
fn accepted_by_accept(context: TracePointContext) -> u32 {
    accepted(&context);
    1
}
