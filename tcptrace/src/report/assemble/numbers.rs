//! Shares and rates, rounded for people. Pure.

/// The share of `part` in `all`, 0 to 1, to four decimals.
pub(crate) fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (part as f64 / all as f64 * 10_000.0).round() / 10_000.0 }
}

/// A rate, to two decimals. Durations below a millisecond count as one.
pub(crate) fn per_second(count: u64, duration_ns: u64) -> f64 {
    (count as f64 / (duration_ns.max(1_000_000) as f64 / 1e9) * 100.0).round() / 100.0
}

/// A level or amount that cannot be below zero, unless records were lost.
pub(crate) fn unsigned(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}
