//! Ring buffers, which all CPUs share (Linux 5.8). A record is made in place, and large ones are no different.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    btf_maps::RingBuf,
    helpers::generated::bpf_ringbuf_query,
    maps::ring_buf::RingBufEntry,
};
use tcptrace_ebpf::config::PAUSE_NS;

use super::Wake;
use crate::settings::config;

/// aya's log crosses a ring buffer too.
pub(crate) use aya_log_ebpf::warn as log_warning;

/// The map of a kind of records.
pub(crate) type Records<T> = RingBuf<T, 4096>;

/// Defines the map of a kind of records. User space sets the size when it loads the object.
macro_rules! records {
    ($(#[$doc:meta])* static $name:ident: $record:ty) => {
        $(#[$doc])*
        #[aya_ebpf::macros::btf_map]
        static $name: $crate::transport::Records<$record> = $crate::transport::Records::new();
    };
}
pub(crate) use records;

/// With so many bytes waiting, the reader is woken: a burst would fill the ring before it looks again.
const MANY: u64 = 2 << 20;

/// The last record of those that wake the reader after a pause (CLOCK_MONOTONIC, nanoseconds).
#[unsafe(no_mangle)]
static mut LAST_RECORD_NS: u64 = 0;

/// When the reader was last woken, or was found to need no waking (CLOCK_MONOTONIC, nanoseconds). Two racing CPUs may both
/// wake it, which is harmless.
#[unsafe(no_mangle)]
static mut LAST_WAKEUP_NS: u64 = 0;

/// Has `fill` write all of a record; false where there is no room for one.
#[inline(always)]
pub(crate) fn write<T: 'static>(
    records: &Records<T>,
    _context: &impl EbpfContext,
    wake: Wake,
    fill: impl FnOnce(&mut MaybeUninit<T>),
) -> bool {
    let Some(mut entry) = records.reserve(0) else { return false };
    fill(&mut entry);
    entry.submit(flag(records, wake));
    true
}

/// Room for a large record.
pub(crate) type Room<T> = RingBufEntry<T>;

/// Room for a large record; `None` where there is none.
#[inline(always)]
pub(crate) fn reserve<T: 'static>(records: &Records<T>) -> Option<Room<T>> {
    records.reserve(0)
}

/// The record is whole. Returns whether it is still to be [`send`]t.
#[inline(always)]
pub(crate) fn commit<T: 'static>(records: &Records<T>, room: Room<T>, wake: Wake) -> bool {
    room.submit(flag(records, wake));
    false
}

/// Nothing is still to be sent; true, because nothing can fail.
#[inline(always)]
pub(crate) fn send<T: 'static>(_records: &Records<T>, _context: &impl EbpfContext) -> bool {
    true
}

/// The flag for submitting a record. Waking the reader costs some twenty times what writing a small record does, and as
/// much as copying a stack; in a virtual machine several times that, for it leaves the machine. The reader looks by itself
/// meanwhile.
#[inline(always)]
fn flag<T: 'static>(records: &Records<T>, wake: Wake) -> u64 {
    let is_due = match wake {
        Wake::AtIntervals(now) => {
            let least = u64::from(config!(wakeup_bytes));
            is_interval_over(now) && (least == 0 || waiting(records) >= least)
        }
        Wake::AfterPause(now) => {
            let waiting = waiting(records);
            // Once, as the number is reached.
            is_pause_over(now) || (waiting >= MANY && waiting - MANY <= size_of::<T>() as u64)
        }
        Wake::Always => return 0,
    };
    u64::from(if is_due { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

/// The bytes that wait for the reader.
#[inline(always)]
fn waiting<T: 'static>(records: &Records<T>) -> u64 {
    // SAFETY: the helper takes a ring.
    unsafe { bpf_ringbuf_query(core::ptr::from_ref(records).cast_mut().cast(), u64::from(BPF_RB_AVAIL_DATA)) }
}

#[inline(always)]
fn is_interval_over(now: u64) -> bool {
    let last = &raw mut LAST_WAKEUP_NS;
    // SAFETY: the pointer is that of an aligned word of this object's data; a lost race means one more
    // wake-up.
    unsafe {
        let is_over =
            now.wrapping_sub(core::ptr::read_volatile(last)) >= u64::from(config!(wakeup_interval_ns));
        if is_over {
            core::ptr::write_volatile(last, now);
        }
        is_over
    }
}

#[inline(always)]
fn is_pause_over(now: u64) -> bool {
    let last = &raw mut LAST_RECORD_NS;
    // SAFETY: the pointer is that of an aligned word of this object's data; a lost race means one more wake-up.
    unsafe {
        let before = core::ptr::read_volatile(last);
        core::ptr::write_volatile(last, now);
        now.wrapping_sub(before) >= PAUSE_NS
    }
}
