//! Where the state of most sockets is kept: a table of fixed size in which each socket has one place,
//! by its key. Taking a place costs little more than a comparison, while the kernel needs about a
//! microsecond to allocate storage for a socket, and most are gone within milliseconds. What finds its
//! place taken is kept where the backend keeps it.

use aya_ebpf::{btf_maps::Array, macros::btf_map};

use crate::transition::SocketState;

/// Places in the table: a power of two. At 24 bytes each they take 384 KiB, which stays in a CPU's cache.
const SLOTS: u32 = 1 << 14;

/// One place.
#[repr(C)]
pub struct Slot {
    /// Key of the socket it belongs to; 0 = free.
    pub key: u64,
    /// What is kept of it.
    pub state: SocketState,
}

#[btf_map]
static STATES: Array<Slot, { SLOTS as usize }> = Array::new();

/// Keys that follow each other have places beside each other: sockets of one time share cache lines.
#[inline(always)]
fn index(key: u64) -> u32 {
    key as u32 & (SLOTS - 1)
}

/// The place of a socket of which something is kept here; null when nothing is.
#[inline(always)]
pub fn get(key: u64) -> *mut Slot {
    match STATES.get_ptr_mut(index(key)) {
        // SAFETY: a live map value.
        Some(slot) if unsafe { (*slot).key } == key => slot,
        _ => core::ptr::null_mut(),
    }
}

/// Gives a socket its place; null when that is taken. Two sockets that take one place within the same
/// nanoseconds both believe they have it: the time that one of them finds there is off by as much, or is
/// of another state than it left, and then unknown.
#[inline(always)]
pub fn take(key: u64) -> *mut SocketState {
    match STATES.get_ptr_mut(index(key)) {
        // SAFETY: a live map value.
        Some(slot) if unsafe { (*slot).key == 0 || (*slot).key == key } => unsafe {
            (*slot).key = key;
            &raw mut (*slot).state
        },
        _ => core::ptr::null_mut(),
    }
}
