//! Accepts below a function without a frame pointer, as most compilers make them.
//!
//! It is made of machine code, because no compiler promises what it uses the register for instead.

use super::machine_code::{Made, accept_below, handled, make};
use anyhow::Result;
use rustix::fd::OwnedFd;

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

pub(crate) struct Code(Made);

impl Code {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(make(&MACHINE_CODE, None)?))
    }

    /// Accepts below it.
    pub(crate) fn accept(&self, listener: &OwnedFd) -> Result<OwnedFd> {
        // SAFETY: an order is what it takes.
        accept_below(listener, |order| unsafe { self.0.call(handled, order) })
    }
}
