//! Reads the kernel's counters on TIME_WAIT in a network namespace, from /proc/net/sockstat and /proc/net/netstat. Both
//! show the namespace of the reading thread.

use std::{fs, path::Path};

use crate::model::tcp_counters::{COUNTERS, TcpCounters};

/// Reads the counters of the calling thread's namespace.
pub(crate) fn read(proc_root: &Path) -> TcpCounters {
    fs::read_to_string(proc_root.join("thread-self/net/netstat")).map(|text| parse(&text)).unwrap_or_default()
}

/// Lines come in pairs: names, then values.
fn parse(text: &str) -> TcpCounters {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut counters = TcpCounters::default();
    for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
        let at = COUNTERS.iter().position(|counter| *counter == name);
        if let Some(slot) = at.and_then(|at| counters.0.get_mut(at)) {
            *slot = value.parse().ok();
        }
    }
    counters
}

/// Minisockets in the calling thread's namespace, including FIN_WAIT2 (`tw_refcount` of `struct
/// inet_timewait_death_row`, which the limit applies to); `None` if unreadable.
pub(crate) fn minisockets(proc_root: &Path) -> Option<u64> {
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
        let counters = parse(text);
        assert_eq!(counters.0, [Some(7), Some(120), None, Some(3), None]);
        assert_eq!(parse("TcpExt: TW").0, [None; 5]);
    }
}
