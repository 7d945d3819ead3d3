//! Whether this process was given a standard output. Rust puts /dev/null in the place of a closed one before main(), so
//! that is found out earlier: what is written there would be lost, and nobody told.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, fcntl_getfd};

use super::error::OpenError;

/// What people call it.
pub(crate) const NAME: &str = "standard output";

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    let is_closed = fcntl_getfd(rustix::stdio::stdout()) == Err(Errno::BADF);
    WAS_CLOSED.store(is_closed, Ordering::Relaxed);
}

// SAFETY: what stands in this section is called once, before main(), as a function of the C ABI. It allocates nothing, and
// uses no part of the standard library that has to be set up.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look;

/// Makes sure that there is one.
///
/// # Errors
/// When it was closed (`>&-`).
pub(crate) fn require() -> Result<(), OpenError> {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        let reason =
            "it is closed; leave it open, or name a file with -o where the command has that".to_owned();
        return Err(OpenError::Refused { path: NAME.into(), reason });
    }
    Ok(())
}
