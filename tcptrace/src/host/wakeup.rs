//! Wakes a thread that waits for something to read, an eventfd(2).

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Wakes one thread.
#[derive(Debug)]
pub(crate) struct Wakeup(OwnedFd);

impl Wakeup {
    /// Nobody has been woken yet.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Ends the wait of the thread, or the next one if it does not wait now.
    pub(crate) fn wake(&self) {
        // A count that is full, after 2^64 calls, wakes as well.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Waits until this is `readable`, until somebody wakes the thread, or for this time at most.
    pub(crate) fn wait(&self, readable: BorrowedFd<'_>, at_most: Duration) {
        let timeout = Timespec::try_from(at_most).ok();
        let woken = PollFd::new(&self.0, PollFlags::IN);
        let readable = PollFd::from_borrowed_fd(readable, PollFlags::IN);
        // A signal ends the wait early, which does no harm.
        let _ = poll(&mut [woken, readable], timeout.as_ref());
        // Fails where nobody woke it.
        let _ = rustix::io::read(&self.0, &mut [0; size_of::<u64>()]);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{os::fd::AsFd as _, sync::Arc, thread};

    use super::*;

    const FOR_EVER: Duration = Duration::from_hours(24);

    #[test]
    fn whoever_waits_is_woken_once() {
        let (nothing_comes, _writer) = io::pipe().unwrap();
        let nothing_comes = Arc::new(nothing_comes);
        let wakeup = Arc::new(Wakeup::new().unwrap());
        let (wakes, silent) = (Arc::clone(&wakeup), Arc::clone(&nothing_comes));
        let waiting = thread::spawn(move || wakes.wait(silent.as_fd(), FOR_EVER));
        wakeup.wake();
        waiting.join().unwrap();
        wakeup.wake();
        wakeup.wake();
        wakeup.wait(nothing_comes.as_fd(), FOR_EVER);
        assert!(rustix::io::read(&wakeup.0, &mut [0; 8]).is_err(), "it is woken once for both");
    }

    #[test]
    fn what_is_readable_ends_the_wait() {
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::write(&writer, b"x").unwrap();
        Wakeup::new().unwrap().wait(reader.as_fd(), FOR_EVER);
    }
}
