//! The configuration of this object: read-only data, which user space fills in at load and the kernel
//! freezes before it verifies the programs. The verifier sees constants and removes the branches of
//! features that are off.

use tcptrace_ebpf::config::{ABSENT, Config};

/// User space replaces it when it loads the object.
#[unsafe(no_mangle)]
pub(crate) static CONFIG: Config = Config::NOTHING;

/// What the loader put where a value was compiled in.
#[inline(always)]
pub(crate) fn loaded<T: Copy>(value: &T) -> T {
    // SAFETY: a reference leads to initialised memory. Volatile, because the compiler must not use the value it
    // compiled in: the loader replaces it.
    unsafe { core::ptr::read_volatile(value) }
}

/// Reads a field of [`CONFIG`].
macro_rules! config {
    ($($field:tt)+) => {
        $crate::settings::loaded(&$crate::settings::CONFIG.$($field)+)
    };
}
pub(crate) use config;

/// The offset of a kernel field in bytes.
macro_rules! kernel {
    ($field:ident) => {
        $crate::settings::config!(kernel.$field) as usize
    };
}
pub(crate) use kernel;

/// The offset in bytes of a member of `struct pt_regs`.
macro_rules! register {
    ($field:ident) => {
        $crate::settings::config!(registers.$field) as usize
    };
}
pub(crate) use register;

/// Whether this kernel lacks the field.
#[inline(always)]
pub(crate) fn is_absent(offset: usize) -> bool {
    offset == ABSENT as usize
}
