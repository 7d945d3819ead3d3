//! Accepts in a library that is loaded at run time, as a plugin is.
//!
//! The library itself is tests/apps/leaky_library.rs.

use anyhow::{Context as _, Result, ensure};
use rustix::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The functions that a stack trace has to show, innermost first.
pub(crate) const FUNCTIONS: [&str; 2] = ["plugin_take_order", "leaky_plugin_accept"];

/// What the library exports under the name of the outermost.
type Accept = extern "C" fn(c_int) -> c_int;

pub(crate) struct Library {
    accept: Accept,
}

impl Library {
    /// Loads it, for good.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let name = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the library has no initialisers but those of Rust's run-time.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        ensure!(!handle.is_null(), "cannot load {}", path.display());
        let symbol: &CStr = c"leaky_plugin_accept";
        // SAFETY: the handle is that of a library that is loaded.
        let function = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
        ensure!(!function.is_null(), "{} has no {symbol:?}", path.display());
        // SAFETY: that is how the library declares it, and it is never unloaded.
        Ok(Self { accept: unsafe { std::mem::transmute::<*mut libc::c_void, Accept>(function) } })
    }

    pub(crate) fn accept(&self, listener: &OwnedFd) -> Result<OwnedFd> {
        let accepted = (self.accept)(listener.as_raw_fd());
        if accepted < 0 {
            return Err(std::io::Error::last_os_error()).context("cannot accept");
        }
        // SAFETY: accept gave us this descriptor, and nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
    }
}
