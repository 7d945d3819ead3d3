//! How records get to user space. The programs are compiled once for each way: with the feature `perf` for kernels without
//! ring buffers. Both ways have the same names, so that nothing else knows which it is. A record that found no room is not
//! counted here: the callers know what it is.

#[cfg(feature = "perf")]
mod perf;
#[cfg(not(feature = "perf"))]
mod ring;

#[cfg(feature = "perf")]
pub(crate) use self::perf::*;
#[cfg(not(feature = "perf"))]
pub(crate) use self::ring::*;

/// When a record wakes the reader. Perf buffers have their own rule, which user space sets when it opens them.
#[cfg_attr(feature = "perf", expect(dead_code, reason = "only ring buffers are told with each record"))]
pub(crate) enum Wake {
    /// If it was not woken for `wakeup_interval_ns` before this moment (CLOCK_MONOTONIC, nanoseconds), and `wakeup_bytes`
    /// wait.
    AtIntervals(u64),
    /// As the number of bytes that wait gets large, and when none came for [`PAUSE_NS`](tcptrace_ebpf::config::PAUSE_NS)
    /// before this moment (likewise).
    AfterPause(u64),
    /// If it waits for one.
    Always,
}
