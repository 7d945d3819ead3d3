//! Reading kernel memory at an address of which the verifier knows nothing: through the helper, which
//! checks it.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Reads a `T` at `base + offset`; the default (0) where nothing can be read.
#[inline(always)]
pub fn read<T: Copy + Default>(base: u64, offset: usize) -> T {
    // SAFETY: the helper checks the address it reads from.
    unsafe { bpf_probe_read_kernel((base as *const u8).wrapping_add(offset).cast::<T>()) }.unwrap_or_default()
}
