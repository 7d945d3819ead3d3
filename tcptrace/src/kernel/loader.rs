//! Makes aya's loader without what it does first: it reads and parses all types of the kernel, though it is handed the few
//! that it needs. That took half the time of `tcptrace now` and 15 MB.

use std::thread;

use aya::EbpfLoader;
use rustix::{
    process::chroot,
    thread::{UnshareFlags, unshare_unsafe},
};

/// A directory that everybody has and that has no directory `sys`.
const WITHOUT_SYS: &str = "/proc/self/fdinfo";

/// A loader that knows no types. Where this process may not change the root of a thread it knows all of them, which
/// [`EbpfLoader::btf`] replaces.
pub(super) fn without_types<'a>() -> EbpfLoader<'a> {
    let made = thread::scope(|scope| {
        let elsewhere = thread::Builder::new().spawn_scoped(scope, || {
            // SAFETY: of what threads share, only the root and the working directory are told apart, and this thread opens
            // no file but the loader's.
            if unsafe { unshare_unsafe(UnshareFlags::FS) }.is_ok() {
                let _ = chroot(WITHOUT_SYS);
            }
            EbpfLoader::new()
        });
        elsewhere.ok()?.join().ok()
    });
    made.unwrap_or_else(EbpfLoader::new)
}
