//! Quantities, and how people read them: durations, counts, addresses.

use std::{fmt, time::Duration};

use super::socket::Socket;

/// A duration in nanoseconds; the longest that fits where it is longer, which is 584 years.
pub(crate) fn in_nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration in nanoseconds, of one in the milliseconds that the kernel counts in.
pub(crate) fn ms_in_ns(milliseconds: u32) -> u64 {
    u64::from(milliseconds) * 1_000_000
}

/// A duration in nanoseconds, to three significant digits: `850 µs`, `12.3 s`, `2h 05m`.
pub(crate) struct Elapsed(pub u64);

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0;
        let in_unit = |unit: u64| nanoseconds as f64 / unit as f64;
        let seconds = nanoseconds / 1_000_000_000;
        let text = match nanoseconds {
            0..1_000 => format!("{nanoseconds} ns"),
            1_000..1_000_000 => format!("{:.0} µs", in_unit(1_000)),
            1_000_000..1_000_000_000 => format!("{:.0} ms", in_unit(1_000_000)),
            1_000_000_000..100_000_000_000 => format!("{:.1} s", in_unit(1_000_000_000)),
            _ if seconds < 3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
            _ if seconds < 86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
            _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
        };
        formatter.pad(&text)
    }
}

/// `1 socket`, `2 sockets`, `3 processes`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    let ending = match count {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{count} {noun}{ending}")
}

/// `1 record is`, `2 records are`.
pub(crate) fn are(count: u64, noun: &str) -> String {
    format!("{} {}", plural(count, noun), if count == 1 { "is" } else { "are" })
}

/// `1 record was`, `2 records were`.
pub(crate) fn were(count: u64, noun: &str) -> String {
    format!("{} {}", plural(count, noun), if count == 1 { "was" } else { "were" })
}

/// Both endpoints of a socket: `local <-> remote`.
pub(crate) struct Socketed<'a>(pub &'a Socket);

impl fmt::Display for Socketed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = &self.0.endpoints;
        write!(formatter, "{} <-> {}", endpoints.local, endpoints.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let shown = |ns| Elapsed(ns).to_string();
        assert_eq!(shown(850_000), "850 µs");
        assert_eq!(shown(12_340_000_000), "12.3 s");
        assert_eq!(shown(125_000_000_000), "2m 05s");
        assert_eq!(shown(7_500_000_000_000), "2h 05m");
        assert_eq!(shown(200_000_000_000_000), "2d 07h");
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(plural(1, "socket"), "1 socket");
        assert_eq!(plural(0, "socket"), "0 sockets");
        assert_eq!(plural(2, "process"), "2 processes");
    }
}
