//! Reads kernel memory at addresses whose type the verifier does not know, through the helper that
//! checks them. Typed pointers go through `typed`.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Reads a `T` at `base + offset`; the default (0) when the read fails.
#[inline(always)]
pub(crate) fn read<T: Copy + Default>(base: u64, offset: usize) -> T {
    // SAFETY: the helper checks the address it reads from.
    unsafe { bpf_probe_read_kernel((base as *const u8).wrapping_add(offset).cast::<T>()) }.unwrap_or_default()
}
