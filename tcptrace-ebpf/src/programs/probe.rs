//! Reads kernel memory at addresses whose type the verifier does not know, through the helper that
//! checks them. Typed pointers go through `typed`.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// Reads an integer at `base + offset`; 0 when the read fails: the helper writes zeros then (`bpf_probe_read_kernel_common` of
/// kernel/trace/bpf_trace.c). Nobody looks at what it returns, because each branch costs the verifier time.
#[inline(always)]
pub(crate) fn read<T: Copy + Default>(base: u64, offset: usize) -> T {
    let mut value = T::default();
    let address = (base as *const u8).wrapping_add(offset);
    // SAFETY: the helper checks the address it reads from, and writes as many bytes as the value has.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, address.cast()) };
    value
}
