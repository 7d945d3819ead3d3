//! Functions that are made at run time out of their machine code.
//!
//! Each calls its first argument with both arguments as they are, and returns.

use anyhow::Result;
use rustix::fd::OwnedFd;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::ffi::c_void;

/// Memory that a function takes; no page is larger.
pub(super) const PAGE: usize = 64 * 1024;

/// What a made function calls.
pub(super) type Callback = unsafe extern "C" fn(*const c_void, *mut c_void);

/// A made function, which stays in memory for good.
pub(super) struct Made(unsafe extern "C" fn(Callback, *mut c_void));

impl Made {
    /// Calls the callback below it.
    ///
    /// # Safety
    /// The callback has to be one that takes `argument`.
    pub(super) unsafe fn call(&self, callback: Callback, argument: *mut c_void) {
        // SAFETY: made functions call the callback with the argument, which the caller answers for, and nothing else.
        unsafe { (self.0)(callback, argument) }
    }

    pub(super) fn address(&self) -> usize {
        self.0 as usize
    }
}

/// Makes a function, in a file if there is one.
pub(super) fn make(code: &[u8], file: Option<&OwnedFd>) -> Result<Made> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let page = match file {
        // SAFETY: a new mapping, at an address that the kernel chooses.
        Some(file) => unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), PAGE, access, MapFlags::SHARED, file, 0)
        },
        // SAFETY: as above.
        None => unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), PAGE, access, MapFlags::PRIVATE) },
    }?;
    // SAFETY: the mapping is ours, can be written to, and is longer than that. Nobody executes it yet.
    unsafe {
        std::ptr::copy_nonoverlapping(code.as_ptr(), page.cast(), code.len().min(PAGE));
        rustix::mm::mprotect(page, PAGE, MprotectFlags::READ | MprotectFlags::EXEC)?;
    }
    // SAFETY: there lies a function of this type, and it is never unmapped.
    Ok(Made(unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Callback, *mut c_void)>(page) }))
}
