//! Who opened a socket, and from where: kept from connect() or accept() until the socket is closed, so
//! that it is known even of a socket that leaks much later, and of an opener that has ended by then.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns},
    macros::{btf_map, tracepoint},
    programs::{TracePointContext, tracing::StackIdContext},
};
use tcptrace_ebpf::record::{CALL_ACCEPT, OPENER_BUDGETS};

use crate::{
    calls::{self, Calls},
    probe,
    settings::{IPPROTO_MPTCP, IPPROTO_TCP, config, is_absent, kernel},
    transition::count,
};

/// The call that opened each socket.
#[btf_map]
static OPENERS: Calls<262_144> = Calls::new();

/// What a bucket holds: a process that opens its sockets in bursts has all of them kept.
const BUDGET_MAX: u64 = 1024;

/// Whether openers are asked for.
#[inline(always)]
pub fn are_tracked() -> bool {
    config!(opener_interval_ns) != 0
}

/// Whether one more opener may be remembered; it counts as one of the current process. Walking a stack
/// costs about a microsecond: a host that opens tens of thousands of sockets a second must not be slowed
/// down by it, so this comes before everything else. Each process has a budget, lest the busy ones leave
/// nothing to the one that leaks.
#[inline(always)]
pub fn take_budget() -> bool {
    /// Of so many openers that find the budget empty, one looks at the clock, which costs as much as all
    /// the rest of this.
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
pub fn remember<C: StackIdContext>(context: &C, sock: u64, call: u32) {
    // SAFETY: the helper takes no pointer.
    let now = unsafe { bpf_ktime_get_ns() };
    calls::remember(&OPENERS, context, sock, call, now);
}

/// The socket is closed.
#[inline(always)]
pub fn forget(sock: u64) {
    calls::forget(&OPENERS, sock);
}

/// Follows a kernel pointer at `base + offset`; 0 when it cannot be read.
#[inline(always)]
fn follow(base: u64, offset: usize) -> u64 {
    probe::read(base, offset)
}

/// From the descriptor that accept() returns to the socket: through the caller's descriptor table.
#[inline(always)]
fn accepted(context: &TracePointContext) {
    /// Where the record of every `sys_exit_*` tracepoint has the return value.
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

/// accept4(), which C libraries call for accept() too on some machines.
#[tracepoint(category = "syscalls", name = "sys_exit_accept4")]
pub fn accepted_by_accept4(context: TracePointContext) -> u32 {
    accepted(&context);
    // 0 would hide the event from perf users.
    1
}

/// accept().
#[tracepoint(category = "syscalls", name = "sys_exit_accept")]
pub fn accepted_by_accept(context: TracePointContext) -> u32 {
    accepted(&context);
    1
}
