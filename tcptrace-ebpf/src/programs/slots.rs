//! A direct-mapped table with the state of most sockets: a socket's key decides its one slot. Taking a
//! slot costs little more than a comparison; allocating storage for a socket costs the kernel about a
//! microsecond, and most sockets live for milliseconds. A socket whose slot is taken has its state in
//! the backend's own map; nothing here decides that.

use aya_ebpf::{btf_maps::Array, macros::btf_map};

use crate::transition::SocketState;

/// Slots in the table: a power of two. At 24 bytes each they take 384 KiB, which fits a CPU's cache.
const SLOTS: u32 = 1 << 14;

/// One slot of the table.
#[repr(C)]
pub(crate) struct Slot {
    /// Key of the socket that has the slot; 0 = free.
    pub key: u64,
    /// The state of that socket.
    pub state: SocketState,
}

#[btf_map]
static STATES: Array<Slot, { SLOTS as usize }> = Array::new();

/// Consecutive keys have adjacent slots, so sockets of the same age share cache lines.
#[inline(always)]
fn index(key: u64) -> u32 {
    key as u32 & (SLOTS - 1)
}

/// The slot of the socket with this key; null when it has none.
#[inline(always)]
pub(crate) fn get(key: u64) -> *mut Slot {
    match STATES.get_ptr_mut(index(key)) {
        // SAFETY: the pointer is that of a live map value.
        Some(slot) if unsafe { (*slot).key } == key => slot,
        _ => core::ptr::null_mut(),
    }
}

/// Gives a socket its slot; null when another socket has it. Two CPUs that take one slot within the same
/// nanoseconds both succeed. One of the two sockets then finds the other's time, which is wrong by those
/// nanoseconds, or another state than it left, and its time is unknown.
#[inline(always)]
pub(crate) fn take(key: u64) -> *mut SocketState {
    match STATES.get_ptr_mut(index(key)) {
        // SAFETY: the pointer is that of a live map value.
        Some(slot) if unsafe { (*slot).key == 0 || (*slot).key == key } => unsafe {
            (*slot).key = key;
            &raw mut (*slot).state
        },
        _ => core::ptr::null_mut(),
    }
}
