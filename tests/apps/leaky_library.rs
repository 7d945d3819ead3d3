//! A library that `leaky` loads, accepts through and deletes, for tests of stacks.
//!
//! The names of the functions are part of the truth that `leaky` prints. leaky/worker/deep_stack.rs explains why they
//! keep frame pointers, and why one function's name is not promised.

use std::ffi::c_int;
use std::hint::black_box;

/// Claims, as a stranger's library might, that a file of this name beside the library has its debug
/// information: a name, padding to four bytes, and a checksum. Without such a file it has no effect.
// SAFETY: the linker and the loader do not read this section.
#[used]
#[unsafe(link_section = ".gnu_debuglink")]
static DEBUG_LINK: [u8; 16] = *b"leaky-trap\0\0\0\0\0\0";

#[repr(align(64))]
struct Local([u8; 64]);

/// Accepts a connection; a negative number and errno when that fails.
// SAFETY: no other library has a function of this name.
#[unsafe(no_mangle)]
pub extern "C" fn leaky_plugin_accept(listener: c_int) -> c_int {
    let local = black_box(Local([1; 64]));
    let accepted = plugin_take_order(listener);
    black_box(&local.0);
    accepted
}

#[inline(never)]
fn plugin_take_order(listener: c_int) -> c_int {
    let local = black_box(Local([2; 64]));
    let accepted = accept_below(listener);
    black_box(&local.0);
    accepted
}

#[inline(never)]
fn accept_below(listener: c_int) -> c_int {
    let local = black_box(Local([3; 64]));
    // SAFETY: no address is asked for, so nothing is written to.
    let accepted =
        unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
    black_box(&local.0);
    accepted
}
