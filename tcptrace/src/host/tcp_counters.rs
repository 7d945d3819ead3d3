//! What the kernel counts about TIME_WAIT in one network namespace: /proc/net/sockstat and
//! /proc/net/netstat, which show the namespace of the thread that reads.

use std::{fs, path::Path};

/// The counters of the `TcpExt` group that tell of TIME_WAIT, by the kernel's names (`net/ipv4/proc.c`).
pub const COUNTERS: [&str; 5] = ["TCPTimeWaitOverflow", "TW", "TWRecycled", "TWKilled", "PAWSActive"];

/// One value for each of [`COUNTERS`], in that order; `None` where the kernel has no such counter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerCounter<T>(pub [Option<T>; COUNTERS.len()]);

/// Totals since the namespace was made.
pub type TcpCounters = PerCounter<u64>;

impl TcpCounters {
    /// Reads those of the calling thread's namespace; `proc_root` is /proc.
    pub fn read(proc_root: &Path) -> Self {
        fs::read_to_string(proc_root.join("thread-self/net/netstat"))
            .map(|text| Self::parse(&text))
            .unwrap_or_default()
    }

    /// Lines come in pairs, names above values.
    fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let mut counters = Self::default();
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            let at = COUNTERS.iter().position(|counter| *counter == name);
            if let Some(slot) = at.and_then(|at| counters.0.get_mut(at)) {
                *slot = value.parse().ok();
            }
        }
        counters
    }

    /// Sockets that were closed without TIME_WAIT because there were too many.
    pub fn overflows(&self) -> Option<u64> {
        let [overflows, ..] = self.0;
        overflows
    }

    /// By how much each has grown a second since `earlier`, which was `elapsed_ns` nanoseconds before.
    pub fn rates_since(&self, earlier: &Self, elapsed_ns: u64) -> PerCounter<f64> {
        let mut rates = PerCounter::default();
        for ((rate, now), before) in rates.0.iter_mut().zip(self.0).zip(earlier.0) {
            #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate_of =
                |now: u64, before| now.saturating_sub(before) as f64 * 1e9 / elapsed_ns.max(1) as f64;
            *rate = now.zip(before).map(|(now, before)| rate_of(now, before));
        }
        rates
    }
}

impl PerCounter<f64> {
    /// As for [`TcpCounters::overflows`], a second.
    pub fn overflows(&self) -> Option<f64> {
        let [overflows, ..] = self.0;
        overflows
    }
}

/// Minisockets in the calling thread's namespace, those in FIN_WAIT2 included (`tw_refcount` of `struct
/// inet_timewait_death_row`, which the limit is compared with); `None` when that cannot be read.
pub fn minisockets(proc_root: &Path) -> Option<u64> {
    let text = fs::read_to_string(proc_root.join("thread-self/net/sockstat")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "tw");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name_wherever_they_stand() {
        let text = "TcpExt: SyncookiesSent TW TCPTimeWaitOverflow TWKilled\nTcpExt: 9 120 7 3\n\
                    IpExt: InNoRoutes TW\nIpExt: 1 2\n";
        let counters = TcpCounters::parse(text);
        assert_eq!(counters.0, [Some(7), Some(120), None, Some(3), None]);
        assert_eq!(TcpCounters::parse("TcpExt: TW").0, [None; 5]);
    }

    #[test]
    fn rates_are_differences_by_time() {
        let (earlier, later) =
            (PerCounter([Some(10), Some(5), None, None, None]), [Some(30), Some(5), Some(1)]);
        let later = PerCounter([later[0], later[1], later[2], None, None]);
        let rates = later.rates_since(&earlier, 2_000_000_000);
        assert_eq!(rates.0, [Some(10.0), Some(0.0), None, None, None]);
    }
}
