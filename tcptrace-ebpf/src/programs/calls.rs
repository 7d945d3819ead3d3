//! Memory of calls on sockets: who made them, when and from which stack, by the address of `struct sock`.
//! Which calls are worth it, `openers` and `end_of_file` say.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_FAST_STACK_CMP, BPF_F_NO_PREALLOC, BPF_F_USER_STACK},
    btf_maps::{HashMap, StackTrace},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_comm},
    macros::btf_map,
    programs::tracing::StackIdContext,
};
use tcptrace_ebpf::record::{CallRecord, Sixteen};

use crate::transition::count;

/// One call for each socket. Memory is taken as it is needed.
pub type Calls<const MAX_SOCKETS: usize> =
    HashMap<u64, CallRecord, MAX_SOCKETS, { BPF_F_NO_PREALLOC as usize }>;

/// User stacks, each kept once. The size is set when the object is loaded.
#[btf_map]
static STACKS: StackTrace<1> = StackTrace::new();

/// Name of the current task, NUL-padded.
#[inline(always)]
pub fn current_comm() -> Sixteen {
    let mut comm = MaybeUninit::<Sixteen>::uninit();
    // SAFETY: the helper writes all the bytes, zeros when there is no task (`bpf_get_current_comm` of
    // kernel/bpf/helpers.c).
    unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), size_of::<Sixteen>() as u32);
        comm.assume_init()
    }
}

/// Remembers that the current task made `call` (`CALL_*`) on `sock` at `now` (CLOCK_MONOTONIC,
/// nanoseconds), in place of what was remembered before.
#[inline(always)]
pub fn remember<C: StackIdContext, const MAX_SOCKETS: usize>(
    calls: &Calls<MAX_SOCKETS>,
    context: &C,
    sock: u64,
    call: u32,
    now: u64,
) {
    let pid_tgid = bpf_get_current_pid_tgid();
    // Two different stacks of the same hash are one too many: the later one is not kept.
    let flags = u64::from(BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP);
    let record = CallRecord {
        ktime_ns: now,
        pid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        comm: current_comm(),
        stack_id: context.get_stackid(&STACKS, flags).map_or(-1, |id| id as i32),
        call,
    };
    if calls.insert(sock, record, u64::from(BPF_ANY)).is_err() {
        count(|counters| counters.untracked += 1);
    }
}

/// Whether a call on `sock` is remembered.
#[inline(always)]
pub fn is_remembered<const MAX_SOCKETS: usize>(calls: &Calls<MAX_SOCKETS>, sock: u64) -> bool {
    calls.get_ptr(sock).is_some()
}

/// Forgets what is remembered of `sock`: its address may be another's soon.
#[inline(always)]
pub fn forget<const MAX_SOCKETS: usize>(calls: &Calls<MAX_SOCKETS>, sock: u64) {
    // Looking is cheaper than removing, which takes a lock, and for most sockets there is nothing.
    if is_remembered(calls, sock) {
        let _ = calls.remove(sock);
    }
}
