//! Functions that are made at run time out of their machine code, and what is accepted below them.
//!
//! Each calls its first argument with both arguments as they are, and returns.

use super::deep_stack;
use anyhow::{Context as _, Result};
use rustix::fd::OwnedFd;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::ffi::c_void;
use std::hint::black_box;

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

/// What [`handled`] takes.
struct Order<'a> {
    listener: &'a OwnedFd,
    accepted: Option<Result<OwnedFd>>,
}

/// Accepts by [`handled`], which `call` has to get called with what it is given.
pub(super) fn accept_below(listener: &OwnedFd, call: impl FnOnce(*mut c_void)) -> Result<OwnedFd> {
    let mut order = Order { listener, accepted: None };
    call((&raw mut order).cast());
    order.accepted.context("nothing was accepted")?
}

#[repr(align(64))]
struct Local([u8; 64]);

/// Accepts below the deep stack.
///
/// # Safety
/// The order has to be that of [`accept_below`], which borrows it to nobody else while it waits.
pub(super) unsafe extern "C" fn handled(_itself: *const c_void, order: *mut c_void) {
    // A frame pointer however the program is built: see deep_stack.
    let local = black_box(Local([6; 64]));
    // SAFETY: the caller's promise.
    let order = unsafe { &mut *order.cast::<Order<'_>>() };
    order.accepted = Some(deep_stack::handle_order(order.listener));
    black_box(&local.0);
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
