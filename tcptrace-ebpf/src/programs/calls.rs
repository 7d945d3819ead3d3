//! Memory of calls on sockets: who made them, when and from which stack, by the address of `struct sock`.
//! Which calls are worth it, `openers` and `end_of_file` say.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_F_FAST_STACK_CMP, BPF_F_NO_PREALLOC, BPF_F_USER_STACK, BPF_NOEXIST},
    btf_maps::{HashMap, PerCpuArray, StackTrace},
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

/// Places of [`CROWDS`]: a power of two.
const CROWDS_LENGTH: usize = 1 << 12;

/// Of how many sockets something is remembered, by the bits of their addresses that differ: where it is
/// zero, nothing has to be looked up.
static mut CROWDS: [u32; CROWDS_LENGTH] = [0; CROWDS_LENGTH];

/// One entry: the address at hand. What the verifier knows as a pointer it lets nobody calculate with;
/// read back from here, it is a number.
#[btf_map]
static ADDRESS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The count of the sockets among which `sock` is.
#[inline(always)]
fn crowd(sock: u64) -> *mut u32 {
    /// Sockets lie at multiples of a cache line.
    const ALIGNMENT_BITS: u32 = 6;
    let address = ADDRESS.get_ptr_mut(0).map_or(0, |address| {
        // SAFETY: a live per-CPU map value.
        unsafe {
            core::ptr::write_volatile(address, sock);
            core::ptr::read_volatile(address)
        }
    });
    let index = (address >> ALIGNMENT_BITS) as usize & (CROWDS_LENGTH - 1);
    // SAFETY: the index is within the array.
    unsafe { (&raw mut CROWDS).cast::<u32>().add(index) }
}

/// Adds to a count that other CPUs may change at the same time. The standard library has no atomic
/// addition for this target, which lacks the comparison that others of its methods need.
#[inline(always)]
fn add(count: *mut u32, by: i32) {
    // SAFETY: an aligned word of this object's own data.
    unsafe {
        core::arch::asm!("lock *(u32 *)({count} + 0) += {by}", count = in(reg) count, by = in(reg) i64::from(by))
    };
}

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
    if calls.insert(sock, record, u64::from(BPF_NOEXIST)).is_ok() {
        add(crowd(sock), 1);
    } else if calls.insert(sock, record, u64::from(BPF_EXIST)).is_err() {
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
    let crowd = crowd(sock);
    // For most sockets there is nothing, which the count says at once. Looking is cheaper than removing,
    // which takes a lock.
    // SAFETY: an aligned word of this object's own data.
    let is_crowded = unsafe { core::ptr::read_volatile(crowd) } != 0;
    if is_crowded && is_remembered(calls, sock) && calls.remove(sock).is_ok() {
        add(crowd, -1);
    }
}
