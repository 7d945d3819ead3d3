//! The kernel's counters on TIME_WAIT in a network namespace. Reads nothing itself.

use serde::{Serialize, Serializer};

/// The counters of the `TcpExt` group that tell of TIME_WAIT, by the kernel's names (`net/ipv4/proc.c`).
pub(crate) const COUNTERS: [&str; 5] = ["TCPTimeWaitOverflow", "TW", "TWRecycled", "TWKilled", "PAWSActive"];

/// One value for each of [`COUNTERS`], in that order; `None` if the kernel has no such counter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerCounter<T>(pub [Option<T>; COUNTERS.len()]);

/// Totals since the namespace was created.
pub(crate) type TcpCounters = PerCounter<u64>;

impl TcpCounters {
    /// Sockets that skipped TIME_WAIT because the table was full.
    pub fn overflows(&self) -> Option<u64> {
        let [overflows, ..] = self.0;
        overflows
    }

    /// The growth of each per second since `earlier`, read `elapsed_ns` nanoseconds before.
    pub fn rates_since(&self, earlier: &Self, elapsed_ns: u64) -> PerCounter<f64> {
        let mut rates = PerCounter::default();
        for ((rate, now), before) in rates.0.iter_mut().zip(self.0).zip(earlier.0) {
            let rate_of =
                |now: u64, before| now.saturating_sub(before) as f64 * 1e9 / elapsed_ns.max(1) as f64;
            *rate = now.zip(before).map(|(now, before)| rate_of(now, before));
        }
        rates
    }
}

impl<T: Serialize> Serialize for PerCounter<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(COUNTERS.iter().zip(&self.0))
    }
}

impl PerCounter<f64> {
    /// As [`TcpCounters::overflows`], per second.
    pub fn overflows(&self) -> Option<f64> {
        let [overflows, ..] = self.0;
        overflows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_by_time() {
        let (earlier, later) =
            (PerCounter([Some(10), Some(5), None, None, None]), [Some(30), Some(5), Some(1)]);
        let later = PerCounter([later[0], later[1], later[2], None, None]);
        let rates = later.rates_since(&earlier, 2_000_000_000);
        assert_eq!(rates.0, [Some(10.0), Some(0.0), None, None, None]);
    }
}
