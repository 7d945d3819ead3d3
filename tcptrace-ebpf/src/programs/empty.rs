//! Programs that do nothing, on the hook the tracer uses: the floor `cargo xtask bench` compares with.
//!
//! They never read their context and never write a record. On the host this is an empty binary.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::macros::{btf_tracepoint, tracepoint};
    use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};

    #[btf_tracepoint(function = "inet_sock_set_state")]
    fn empty_btf(_context: BtfTracePointContext) -> i32 {
        0
    }

    // A program on the classic tracepoint that returns 0 hides the event from every perf user.
    #[tracepoint(category = "sock", name = "inet_sock_set_state")]
    fn empty_tracepoint(_context: TracePointContext) -> u32 {
        1
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
