//! What the loader told this object: read-only data, frozen before the programs are verified. To the
//! verifier it is all constants, so that a branch on something not asked for is not even there.

use tcptrace_ebpf::config::{
    ABSENT, Config, FILTER_RULES, Filter, FormatOffsets, KernelOffsets, ReceiveOffsets,
};

/// `include/uapi/linux/in.h`
pub const IPPROTO_TCP: u16 = 6;
/// `include/uapi/linux/in.h`
pub const IPPROTO_MPTCP: u16 = 262;

/// Set by user space when the object is loaded.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config {
    filter: Filter {
        addresses: [tcptrace_ebpf::config::AddressRule { network: [0; 2], mask: [0; 2] }; FILTER_RULES],
        ports: [tcptrace_ebpf::config::PortRule { port: 0, sides: 0 }; FILTER_RULES],
        states: 0,
        family: 0,
        address_count: 0,
        port_count: 0,
    },
    kernel: KernelOffsets::UNKNOWN,
    format: FormatOffsets::UNUSED,
    receive: ReceiveOffsets::UNUSED,
    track_all_states: 0,
    wakeup_interval_ns: 0,
    details_after_ns: 0,
    opener_interval_ns: 0,
    track_eof_reads: 0,
};

/// A field of [`CONFIG`], as the loader left it.
macro_rules! config {
    ($($field:tt)+) => {{
        #[allow(unused_unsafe, reason = "some callers are unsafe already")]
        // SAFETY: reads initialised memory; volatile, because the loader replaces what was compiled in.
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
