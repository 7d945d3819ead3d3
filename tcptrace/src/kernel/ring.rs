//! Waits for the kernel side to write into a ring. Reads nothing of it.

use std::{
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits until there is something in a ring and the kernel side wakes its reader, or for this time at most. Does not wait where
/// there is something already.
pub(super) fn wait_for(ring: &RingBuf<MapData>, at_most: Duration) {
    // SAFETY: the ring owns the descriptor, and lives longer than this borrows it.
    let ring = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
    let timeout = Timespec::try_from(at_most).ok();
    // A signal ends the wait early, which does no harm.
    let _ = poll(&mut [PollFd::from_borrowed_fd(ring, PollFlags::IN)], timeout.as_ref());
}
