//! Sockets that came into CLOSE_WAIT a moment ago. Most leave it within milliseconds, and whoever looks for leaks need not
//! hear of them: what a record would say of such a socket is kept here, and user space reads it when the socket has stayed
//! for `arrival_ns`. A socket that finds no room is recorded as any other.

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::BPF_F_MMAPABLE, btf_maps::Array, helpers::bpf_ktime_get_ns, macros::btf_map};
use tcptrace_ebpf::record::{ARRIVALS, Arrival, TransitionRecord};

use crate::{atomic, settings::config};

/// The way by perf buffers is for kernels that may not be able to map an array (Linux 5.5).
const FLAGS: usize = if cfg!(feature = "perf") { 0 } else { BPF_F_MMAPABLE as usize };

#[btf_map(name = "ARRIVALS")]
static KEPT: Array<Arrival, ARRIVALS, FLAGS> = Array::new();

/// One entry: 1 while user space reads arrivals.
#[btf_map]
static ARRIVALS_WANTED: Array<u32, 1> = Array::new();

/// Whether user space reads arrivals: it does not before it knows which sockets were there first.
#[inline(always)]
fn are_wanted() -> bool {
    // SAFETY: the pointer is that of a live map value.
    ARRIVALS_WANTED.get_ptr(0).is_some_and(|wanted| unsafe { core::ptr::read_volatile(wanted) } != 0)
}

/// The place of the socket with this key, as in `slots`: consecutive keys have adjacent places.
#[inline(always)]
fn place(key: u64) -> Option<*mut Arrival> {
    KEPT.get_ptr_mut(key as u32 & (ARRIVALS as u32 - 1))
}

/// Keeps the arrival of the socket with this key, of which `fill` writes the record; false where it is to be recorded.
#[inline(always)]
pub(crate) fn keep(key: u64, fill: impl FnOnce(&mut MaybeUninit<TransitionRecord>)) -> bool {
    if key == 0 || !are_wanted() {
        return false;
    }
    let Some(arrival) = place(key) else { return false };
    // SAFETY: the pointer is that of a live map value. Whoever finds the only claim its own has the place; an earlier
    // arrival of the same socket, whose end was not seen, had it before.
    unsafe {
        let claims = &raw mut (*arrival).claims;
        let of = core::ptr::read_volatile(&raw const (*arrival).key);
        if of != key {
            if of != 0 {
                return false;
            }
            atomic::add(claims, 1);
            if core::ptr::read_volatile(claims) != 1 {
                atomic::add(claims, -1);
                return false;
            }
        }
        fill(&mut *(&raw mut (*arrival).record).cast());
        core::ptr::write_volatile(&raw mut (*arrival).key, key);
    }
    true
}

/// A socket that left CLOSE_WAIT, as far as its arrival was kept.
pub(crate) struct Left {
    /// When it had come (CLOCK_MONOTONIC, nanoseconds); 0 when its arrival was recorded, or not seen.
    pub entered_ns: u64,
    /// Nobody hears of it.
    pub is_short: bool,
}

/// Forgets the arrival of the socket with this key, which leaves.
#[inline(always)]
pub(crate) fn leave(key: u64) -> Left {
    let mut left = Left { entered_ns: 0, is_short: false };
    let Some(arrival) = place(key) else { return left };
    // SAFETY: the pointer is that of a live map value, and the socket that it is of is locked.
    unsafe {
        if (*arrival).key != key {
            return left;
        }
        left.entered_ns = (*arrival).record.ktime_ns;
        core::ptr::write_volatile(&raw mut (*arrival).key, 0);
        atomic::add(&raw mut (*arrival).claims, -1);
        left.is_short =
            are_wanted() && bpf_ktime_get_ns().wrapping_sub(left.entered_ns) < config!(arrival_ns);
    }
    left
}
