//! Makes aya's loader without what it does first: it reads and parses all types of the kernel, though it is handed the few
//! that it needs. That took half the time of `tcptrace now` and 15 MB.

use std::thread;

use aya::EbpfLoader;

use crate::host::system_calls;

/// A loader that knows no types. Where the kernel takes no filter it knows all of them, which [`EbpfLoader::btf`] replaces.
pub(super) fn without_types<'a>() -> EbpfLoader<'a> {
    let made = thread::scope(|scope| {
        let without_files = thread::Builder::new().spawn_scoped(scope, || {
            if let Err(error) = system_calls::open_no_files() {
                log::debug!("aya reads the types of the kernel: {error}");
            }
            EbpfLoader::new()
        });
        without_files.ok()?.join().ok()
    });
    made.unwrap_or_else(EbpfLoader::new)
}
