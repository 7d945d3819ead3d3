//! How many calls of a process are remembered: a token bucket for each process on each CPU. Comes before all other work:
//! walking and copying a stack costs microseconds, which must not slow down a host that opens tens of thousands of sockets
//! a second. Each process has a bucket of its own, so that a busy one cannot use up the share of the one that leaks.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::btf_map,
};

use crate::settings::config;

/// Calls that a process has remembered in a burst.
const MOST_CALLS: u32 = 1024;
/// Stacks that a process has copied in a burst. A copy costs ten times as much as to remember a call, and the ring holds
/// some 450: one process does not fill it.
const MOST_COPIES: u32 = 256;

/// Buckets on each CPU: a power of two.
const BUCKETS: u32 = 1 << 9;

/// One bucket. Integers only.
#[repr(C)]
struct Bucket {
    /// CLOCK_MONOTONIC of the last refill, in nanoseconds.
    filled_ns: u64,
    /// Whose it is; 0 = nobody's.
    owner: u32,
    /// Tokens left.
    left: u32,
    /// How often it was found empty since the last refill.
    missed: u32,
    /// Always zero.
    padding: u32,
}

#[btf_map]
static BUDGETS: PerCpuArray<Bucket, { BUCKETS as usize }> = PerCpuArray::new();

/// What a budget is for: a bit that no number of a process has.
#[derive(Clone, Copy)]
pub(crate) enum For {
    /// Who opened a socket.
    Openers = 0,
    /// The stack of who opened it.
    Stacks = 1 << 30,
    /// The stack of who read its end of file.
    Reads = 1 << 31,
}

/// How many tokens a bucket holds.
#[inline(always)]
fn most(owner: u32) -> u32 {
    if owner < For::Stacks as u32 { MOST_CALLS } else { MOST_COPIES }
}

/// One in how many calls that find the bucket empty reads the clock, which costs as much as the rest of [`take`]. A call whose
/// stack is not copied is remembered all the same, which costs more: there each one looks, so that the calls which come
/// slowly after a burst have their stacks copied.
#[inline(always)]
fn look_every(what: For) -> u32 {
    match what {
        For::Openers => 8,
        For::Stacks | For::Reads => 1,
    }
}

/// Takes a token of the current process; false when it has none left.
#[inline(always)]
pub(crate) fn take(what: For) -> bool {
    let owner = (bpf_get_current_pid_tgid() >> 32) as u32 | what as u32;
    let bucket = bucket(owner);
    // SAFETY: the pointer is null or that of a live per-CPU map value. No program interrupts this one on the same CPU here.
    let Some(bucket) = (unsafe { bucket.as_mut() }) else { return false };
    if bucket.left == 0 {
        if bucket.missed.is_multiple_of(look_every(what)) {
            fill(bucket);
        }
        bucket.missed = bucket.missed.wrapping_add(1);
    }
    if bucket.left == 0 {
        return false;
    }
    bucket.left -= 1;
    true
}

/// The bucket of a process. One that does not have any takes over that of a process which would find it full again, so
/// that this one loses nothing. Where both places are taken by busy processes, it shares one.
#[inline(always)]
fn bucket(owner: u32) -> *mut Bucket {
    let first = at(owner & (BUCKETS - 1));
    if is_of(first, owner) {
        return first;
    }
    // Knuth's multiplicative hashing: the upper bits are well mixed.
    let second = at(owner.wrapping_mul(0x9e37_79b1) >> (u32::BITS - BUCKETS.trailing_zeros()));
    if is_of(second, owner) {
        return second;
    }
    if take_over(first, owner) {
        return first;
    }
    if take_over(second, owner) {
        return second;
    }
    first
}

#[inline(always)]
fn at(index: u32) -> *mut Bucket {
    BUDGETS.get_ptr_mut(index).map_or(core::ptr::null_mut(), |bucket| bucket)
}

#[inline(always)]
fn is_of(bucket: *mut Bucket, owner: u32) -> bool {
    // SAFETY: the pointer is null or that of a live per-CPU map value.
    unsafe { bucket.as_ref() }.is_some_and(|bucket| bucket.owner == owner)
}

/// Gives a bucket to another process, if it is full or would be.
#[inline(always)]
fn take_over(bucket: *mut Bucket, owner: u32) -> bool {
    // SAFETY: the pointer is null or that of a live per-CPU map value.
    let Some(bucket) = (unsafe { bucket.as_mut() }) else { return false };
    let (now, gained) = gained(bucket);
    if gained < most(bucket.owner) {
        return false;
    }
    *bucket = Bucket { filled_ns: now, owner, left: most(owner), missed: 0, padding: 0 };
    true
}

#[inline(always)]
fn fill(bucket: &mut Bucket) {
    let (now, gained) = gained(bucket);
    if gained > 0 {
        bucket.left = gained;
        bucket.filled_ns = now;
        bucket.missed = 0;
    }
}

/// Now, and the tokens since the last refill.
#[inline(always)]
fn gained(bucket: &Bucket) -> (u64, u32) {
    // SAFETY: the helper takes no pointer.
    let now = unsafe { bpf_ktime_get_ns() };
    let elapsed = now.wrapping_sub(bucket.filled_ns);
    let gained = elapsed.checked_div(u64::from(config!(call_interval_ns))).unwrap_or(0);
    (now, gained.min(u64::from(most(bucket.owner))) as u32)
}
