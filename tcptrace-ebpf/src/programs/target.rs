//! What every object needs for the BPF target: a licence and a panic handler.

/// The kernel opens several helpers (`bpf_probe_read_kernel` among them) to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that can reach this loop.
    loop {}
}
