//! What standard output and standard error share where they are one terminal: the line at the bottom, which whoever
//! writes takes away first. Held for one piece of output at a time, and never by who reads the ring.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Whether the status line stands on the terminal.
pub(super) struct StatusShown {
    pub is_shown: bool,
}

static STATUS: Mutex<StatusShown> = Mutex::new(StatusShown { is_shown: false });

/// A message waits for its turn: records, which never stop coming, let it pass.
static HAS_MESSAGE: AtomicBool = AtomicBool::new(false);

/// The terminal, for a message.
pub(super) fn lock_for_message() -> MutexGuard<'static, StatusShown> {
    HAS_MESSAGE.store(true, Ordering::Relaxed);
    let line = lock();
    HAS_MESSAGE.store(false, Ordering::Relaxed);
    line
}

/// The terminal, for records.
pub(super) fn lock_for_records() -> MutexGuard<'static, StatusShown> {
    if HAS_MESSAGE.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
    lock()
}

fn lock() -> MutexGuard<'static, StatusShown> {
    STATUS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StatusShown {
    /// What takes the line away, if there is one.
    pub(super) fn take_away(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.is_shown) { b"\r\x1b[K" } else { b"" }
    }
}
