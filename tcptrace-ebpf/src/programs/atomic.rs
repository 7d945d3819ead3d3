//! Counts that several CPUs change at the same time.

/// Adds to a count. `core` has no atomic addition for this target, because the target lacks the compare-and-swap that other
/// methods of `core`'s atomics need.
#[inline(always)]
pub(crate) fn add(count: *mut u32, by: i32) {
    // SAFETY: the pointer is that of an aligned word of this object's data, or of a live map value.
    unsafe {
        core::arch::asm!(
            "lock *(u32 *)({count} + 0) += {by}",
            count = in(reg) count,
            by = in(reg) i64::from(by),
        );
    }
}
