//! Remembers calls on sockets by the address of `struct sock`: who made a call, when and from which
//! stack. `openers` and `end_of_file` decide which calls.

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_F_FAST_STACK_CMP, BPF_F_NO_PREALLOC, BPF_F_USER_STACK, BPF_NOEXIST},
    btf_maps::{HashMap, PerCpuArray, StackTrace},
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, generated::bpf_get_current_comm},
    macros::btf_map,
    programs::tracing::StackIdContext,
};
use tcptrace_ebpf::record::{CallRecord, Sixteen};

use crate::{atomic, captures, pids, settings::config, transition::count};

/// One call for each socket. The kernel allocates entries on demand.
pub(crate) type Calls<const MAX_SOCKETS: usize> =
    HashMap<u64, CallRecord, MAX_SOCKETS, { BPF_F_NO_PREALLOC as usize }>;

/// User stacks, each kept once. User space sets the size when it loads the object.
#[btf_map]
static STACKS: StackTrace<1> = StackTrace::new();

/// Length of [`PRESENCE_FILTER`]: a power of two.
const FILTER_LENGTH: usize = 1 << 12;

/// Counting filter over the addresses of sockets with a remembered call: a zero saves the hash lookup.
static mut PRESENCE_FILTER: [u32; FILTER_LENGTH] = [0; FILTER_LENGTH];

/// One entry: the address of the socket at hand. The verifier forbids arithmetic on a pointer; read back
/// from a map, the address is a number.
#[btf_map]
static ADDRESS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The entry of [`PRESENCE_FILTER`] that counts `sock`.
#[inline(always)]
fn presence_filter(sock: u64) -> *mut u32 {
    /// The kernel aligns sockets to cache lines.
    const ALIGNMENT_BITS: u32 = 6;
    let address = ADDRESS.get_ptr_mut(0).map_or(0, |address| {
        // SAFETY: the pointer is that of a live per-CPU map value.
        unsafe {
            core::ptr::write_volatile(address, sock);
            core::ptr::read_volatile(address)
        }
    });
    let index = (address >> ALIGNMENT_BITS) as usize & (FILTER_LENGTH - 1);
    // SAFETY: the index is within the array.
    unsafe { (&raw mut PRESENCE_FILTER).cast::<u32>().add(index) }
}

/// Name of the current task, NUL-padded: Linux 6.1 writes nothing behind the first NUL (`bpf_get_current_comm` of
/// kernel/bpf/helpers.c).
#[inline(always)]
pub(crate) fn current_comm() -> Sixteen {
    let mut comm = Sixteen::default();
    // SAFETY: the helper writes as many bytes as there are, at most.
    unsafe { bpf_get_current_comm((&raw mut comm).cast(), size_of::<Sixteen>() as u32) };
    comm
}

/// Process (thread group id) and thread of the current task, in the reader's pid namespace.
#[inline(always)]
pub(crate) fn current_task() -> (u32, u32) {
    let pid_tgid = bpf_get_current_pid_tgid();
    in_readers_namespace((pid_tgid >> 32) as u32, pid_tgid as u32)
}

/// Process and thread of the current task, which the root pid namespace numbers so, in the reader's pid namespace.
#[inline(always)]
pub(crate) fn in_readers_namespace(tgid: u32, pid: u32) -> (u32, u32) {
    if config!(pid_namespace) == 0 {
        return (tgid, pid);
    }
    let inside = numbers_inside(u64::from(tgid) << 32 | u64::from(pid));
    ((inside >> 32) as u32, inside as u32)
}

/// The two numbers of the current task in the reader's pid namespace, as a global function: the verifier examines its loops once
/// a program, and not once more for each state in which a program gets here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn numbers_inside(on_host: u64) -> u64 {
    // SAFETY: the helper takes no pointer.
    let task = unsafe { bpf_get_current_task() };
    let process = pids::of_process(task, (on_host >> 32) as u32);
    u64::from(process) << 32 | u64::from(pids::of_thread(task, on_host as u32))
}

/// Remembers that the current task made `call` (`CALL_*`) on `sock` at `now` (CLOCK_MONOTONIC,
/// nanoseconds), and copies the stack if it is told to. Replaces an earlier call on that socket.
#[inline(always)]
pub(crate) fn remember<C: StackIdContext, const MAX_SOCKETS: usize>(
    calls: &Calls<MAX_SOCKETS>,
    context: &C,
    sock: u64,
    call: u32,
    now: u64,
    copies_stack: bool,
) {
    let (pid, tid) = current_task();
    // Of two stacks with the same hash the kernel keeps the first; the second call has no stack then.
    let flags = u64::from(BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP);
    let record = CallRecord {
        ktime_ns: now,
        pid,
        tid,
        comm: current_comm(),
        stack_id: context.get_stackid(&STACKS, flags).map_or(-1, |id| id as i32),
        call,
        repeated: 0,
    };
    if calls.insert(sock, record, u64::from(BPF_NOEXIST)).is_ok() {
        atomic::add(presence_filter(sock), 1);
    } else if calls.insert(sock, record, u64::from(BPF_EXIST)).is_err() {
        count(|counters| counters.untracked += 1);
        return;
    }
    // Last: who takes the copy asks whether the call is still remembered.
    if copies_stack {
        captures::capture(context, sock, now, pid);
    } else if config!(stack_bytes) != 0 {
        captures::skip();
    }
}

/// Counts another call like the one that this map remembers of `sock`; whether it does remember one.
#[inline(always)]
pub(crate) fn repeat<const MAX_SOCKETS: usize>(calls: &Calls<MAX_SOCKETS>, sock: u64) -> bool {
    let Some(record) = calls.get_ptr_mut(sock) else { return false };
    // SAFETY: the pointer is that of a live map value. Two CPUs may count one call only.
    unsafe { (*record).repeated += 1 };
    true
}

/// Whether this map remembers a call on `sock`.
#[inline(always)]
pub(crate) fn is_remembered<const MAX_SOCKETS: usize>(calls: &Calls<MAX_SOCKETS>, sock: u64) -> bool {
    calls.get_ptr(sock).is_some()
}

/// Forgets the call on `sock`: the kernel may soon reuse the address.
#[inline(always)]
pub(crate) fn forget<const MAX_SOCKETS: usize>(calls: &Calls<MAX_SOCKETS>, sock: u64) {
    let count = presence_filter(sock);
    // Most sockets have no remembered call, and a zero says so at once. A lookup is cheaper than a
    // removal, which takes a lock.
    // SAFETY: the pointer is that of an aligned word of this object's data.
    let may_be_present = unsafe { core::ptr::read_volatile(count) } != 0;
    if may_be_present && is_remembered(calls, sock) && calls.remove(sock).is_ok() {
        atomic::add(count, -1);
    }
}
