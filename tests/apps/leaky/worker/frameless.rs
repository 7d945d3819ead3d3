//! Accepts below a function without a frame pointer, as most compilers make them.
//!
//! It is made of machine code, because no compiler promises what it uses the register for instead.

use super::deep_stack;
use super::machine_code::{Made, make};
use anyhow::{Context as _, Result};
use rustix::fd::OwnedFd;
use std::ffi::c_void;
use std::hint::black_box;

/// Has a number in the register of the frame pointer when it calls.
#[cfg(target_arch = "x86_64")]
const MACHINE_CODE: [u8; 7] = [
    0x55, // push rbp
    0x31, 0xed, // xor ebp, ebp
    0xff, 0xd7, // call rdi
    0x5d, // pop rbp
    0xc3, // ret
];
#[cfg(target_arch = "aarch64")]
const MACHINE_CODE: [u8; 20] = [
    0xfd, 0x7b, 0xbf, 0xa9, // stp x29, x30, [sp, #-16]!
    0xfd, 0x03, 0x1f, 0xaa, // mov x29, xzr
    0x00, 0x00, 0x3f, 0xd6, // blr x0
    0xfd, 0x7b, 0xc1, 0xa8, // ldp x29, x30, [sp], #16
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

pub struct Code(Made);

/// What goes through the made function.
struct Order<'a> {
    listener: &'a OwnedFd,
    accepted: Option<Result<OwnedFd>>,
}

impl Code {
    pub fn new() -> Result<Self> {
        Ok(Self(make(&MACHINE_CODE, None)?))
    }

    /// Accepts below it.
    pub fn accept(&self, listener: &OwnedFd) -> Result<OwnedFd> {
        let mut order = Order { listener, accepted: None };
        // SAFETY: that is what it takes.
        unsafe { self.0.call(handled, (&raw mut order).cast()) };
        order.accepted.context("nothing was accepted")?
    }
}

#[repr(align(64))]
struct Local([u8; 64]);

unsafe extern "C" fn handled(_itself: *const c_void, order: *mut c_void) {
    // A frame pointer however the program is built: see deep_stack.
    let local = black_box(Local([7; 64]));
    // SAFETY: `accept` hands over an order, which is borrowed by nobody while it waits.
    let order = unsafe { &mut *order.cast::<Order<'_>>() };
    order.accepted = Some(deep_stack::handle_order(order.listener));
    black_box(&local.0);
}
