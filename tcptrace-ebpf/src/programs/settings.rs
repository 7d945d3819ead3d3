//! The configuration of this object: read-only data, which user space fills in at load and the kernel
//! freezes before it verifies the programs. The verifier sees constants and removes the branches of
//! features that are off.

use tcptrace_ebpf::config::{ABSENT, Config};

/// `include/uapi/linux/in.h`
pub const IPPROTO_TCP: u16 = 6;
/// `include/uapi/linux/in.h`
pub const IPPROTO_MPTCP: u16 = 262;

/// User space replaces it when it loads the object.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config::NOTHING;

/// Reads a field of [`CONFIG`].
macro_rules! config {
    ($($field:tt)+) => {{
        #[allow(unused_unsafe, reason = "some callers are unsafe already")]
        // SAFETY: reads initialised memory. Volatile, because the compiler must not use the value it
        // compiled in: the loader replaces it.
        let value = unsafe { core::ptr::read_volatile(&raw const $crate::settings::CONFIG.$($field)+) };
        value
    }};
}
pub(crate) use config;

/// The offset of a kernel field in bytes.
macro_rules! kernel {
    ($field:ident) => {
        $crate::settings::config!(kernel.$field) as usize
    };
}
pub(crate) use kernel;

/// Whether this kernel lacks the field.
#[inline(always)]
pub fn is_absent(offset: usize) -> bool {
    offset == ABSENT as usize
}
