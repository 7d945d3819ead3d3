//! Who opened a socket, and from where: kept from connect() or accept() until the socket is closed, so
//! that it is known even of a socket that leaks much later, and of an opener that has ended by then.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_ANY, BPF_F_FAST_STACK_CMP, BPF_F_NO_PREALLOC, BPF_F_USER_STACK},
    btf_maps::{HashMap, StackTrace},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns,
        bpf_probe_read_kernel,
    },
    macros::{btf_map, tracepoint},
    programs::{TracePointContext, tracing::StackIdContext},
};
use tcptrace_ebpf::record::{COMM_LENGTH, OPENED_BY_ACCEPT, OpenerRecord};

use crate::{
    settings::{IPPROTO_MPTCP, IPPROTO_TCP, config, is_absent, kernel},
    transition::count,
};

/// By the address of `struct sock`. Memory is taken as it is needed.
#[btf_map]
static OPENERS: HashMap<u64, OpenerRecord, 262_144, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// User stacks, each kept once. The size is set when the object is loaded.
#[btf_map]
static STACKS: StackTrace<1> = StackTrace::new();

/// Whether openers are asked for.
#[inline(always)]
pub fn are_tracked() -> bool {
    config!(openers_per_second) != 0
}

/// Walking a stack costs about a microsecond: a host that opens tens of thousands of sockets a second
/// must not be slowed down by it.
#[inline(always)]
fn is_within_budget(now: u64) -> bool {
    const SECOND_NS: u64 = 1_000_000_000;
    let mut is_within = false;
    count(|counters| {
        if now.wrapping_sub(counters.openers_window_ns) >= SECOND_NS {
            counters.openers_window_ns = now;
            counters.openers_in_window = 0;
        }
        is_within = counters.openers_in_window < u64::from(config!(openers_per_second));
        if is_within {
            counters.openers_in_window += 1;
        } else {
            counters.openers_skipped += 1;
        }
    });
    is_within
}

/// Remembers the current task as the opener of `sock`.
#[inline(always)]
pub fn remember<C: StackIdContext>(context: &C, sock: u64, how: u32) {
    // SAFETY: the helper takes no pointer.
    let now = unsafe { bpf_ktime_get_ns() };
    if !is_within_budget(now) {
        return;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    // Two different stacks of the same hash are one too many: the later one is not kept.
    let flags = u64::from(BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP);
    let opener = OpenerRecord {
        ktime_ns: now,
        pid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        comm: bpf_get_current_comm().unwrap_or([0; COMM_LENGTH]),
        stack_id: context.get_stackid(&STACKS, flags).map_or(-1, |id| id as i32),
        how,
    };
    if OPENERS.insert(sock, opener, u64::from(BPF_ANY)).is_err() {
        count(|counters| counters.untracked += 1);
    }
}

/// The socket is closed: its address may be another's soon.
#[inline(always)]
pub fn forget(sock: u64) {
    // Looking is cheaper than removing, which takes a lock, and for most sockets there is nothing.
    if OPENERS.get_ptr(sock).is_some() {
        let _ = OPENERS.remove(sock);
    }
}

/// Reads a kernel pointer at `base + offset`; 0 when it cannot be read.
#[inline(always)]
fn follow(base: u64, offset: usize) -> u64 {
    // SAFETY: the helper checks the address it reads from.
    unsafe { bpf_probe_read_kernel((base as *const u8).add(offset).cast::<u64>()) }.unwrap_or(0)
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
    if descriptor < 0 {
        return;
    }
    // SAFETY: the helper takes no pointer.
    let files = follow(unsafe { bpf_get_current_task() }, kernel!(task_files));
    let table = follow(follow(files, kernel!(files_fdt)), kernel!(fdtable_fd));
    let file = follow(table + descriptor as u64 * 8, 0);
    let sock = follow(follow(file, kernel!(file_private_data)), kernel!(socket_sk));
    // SAFETY: the helper checks the address it reads from.
    let protocol =
        unsafe { bpf_probe_read_kernel((sock as *const u8).add(kernel!(sock_protocol)).cast::<u16>()) };
    if matches!(protocol, Ok(IPPROTO_TCP | IPPROTO_MPTCP)) {
        remember(context, sock, OPENED_BY_ACCEPT);
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
