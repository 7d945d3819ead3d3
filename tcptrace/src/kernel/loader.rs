//! Makes aya's loader without what it does first: it reads and parses all types of the kernel, of which our
//! programs need none. That took half the time of `tcptrace now` and 15 MB.
//!
//! And without a log of each instruction. aya loads a program that the kernel refused once more, for the verifier's log,
//! and again with more room until that fits: a signal that came meanwhile (EAGAIN) cost ten times the time of loading.

use std::thread;

use aya::{EbpfLoader, VerifierLogLevel};

use crate::host::system_calls;

/// A loader that knows no types.
pub(super) fn without_types<'a>() -> EbpfLoader<'a> {
    let made = thread::scope(|scope| {
        let without_files = thread::Builder::new().name("loader".to_owned()).spawn_scoped(scope, || {
            if let Err(error) = system_calls::open_no_files() {
                log::debug!("aya reads the types of the kernel: {error}");
            }
            EbpfLoader::new()
        });
        without_files.ok()?.join().ok()
    });
    let mut loader = made.unwrap_or_else(EbpfLoader::new);
    // No program of ours is adapted to types. Where the kernel takes no filter the loader has read them.
    loader.btf(None);
    loader.verifier_log_level(verifier_log_level());
    loader
}

/// What the verifier logs of a program that it refuses: at any level what it stumbled over.
pub(super) fn verifier_log_level() -> VerifierLogLevel {
    if log::log_enabled!(log::Level::Trace) { VerifierLogLevel::default() } else { VerifierLogLevel::STATS }
}
