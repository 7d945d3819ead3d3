//! Whether the processor is emulated, as in the guest of `cargo xtask test --kernel`: it is slower then than any that tools
//! run on. Limits on time are stretched there. Counts, of losses above all, are the same everywhere.

use std::sync::LazyLock;
use std::time::Duration;

/// The variable that the guest's first script sets (xtask/src/kernel/guest.rs).
const VARIABLE: &str = "EMULATED_PROCESSOR";

/// How much longer everything may take.
const FACTOR: u32 = 4;

/// A limit on time, for the processor that the tests run on.
pub(crate) fn stretched(limit: Duration) -> Duration {
    static IS_EMULATED: LazyLock<bool> = LazyLock::new(|| std::env::var_os(VARIABLE).is_some());
    if *IS_EMULATED { limit * FACTOR } else { limit }
}
