//! The lengths of stays in CLOSE_WAIT: a histogram in constant memory.

use hdrhistogram::{CreationError, Histogram};

/// The longest duration the histogram resolves: ten years, in microseconds.
const MOST_US: u64 = 10 * 365 * 86_400 * 1_000_000;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Round durations, each about twice the one before.
const FINE_NS: [u64; 40] = {
    let (us, ms, s) = (MICROSECOND, MILLISECOND, SECOND);
    [
        us,
        2 * us,
        5 * us,
        10 * us,
        20 * us,
        50 * us,
        100 * us,
        200 * us,
        500 * us,
        ms,
        2 * ms,
        5 * ms,
        10 * ms,
        20 * ms,
        50 * ms,
        100 * ms,
        200 * ms,
        500 * ms,
        s,
        2 * s,
        5 * s,
        10 * s,
        20 * s,
        30 * s,
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        20 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        4 * HOUR,
        8 * HOUR,
        16 * HOUR,
        DAY,
        2 * DAY,
        7 * DAY,
        30 * DAY,
        365 * DAY,
    ]
};

/// Round durations, each about ten times the one before.
const COARSE_NS: [u64; 14] = {
    let (us, ms, s) = (MICROSECOND, MILLISECOND, SECOND);
    [
        us,
        10 * us,
        100 * us,
        ms,
        10 * ms,
        100 * ms,
        s,
        10 * s,
        MINUTE,
        10 * MINUTE,
        HOUR,
        10 * HOUR,
        4 * DAY,
        40 * DAY,
    ]
};

/// Bars that fit a chart.
const MOST_BARS: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct DurationHistogram {
    histogram: Histogram<u64>,
    longest_ns: u64,
}

impl DurationHistogram {
    /// None yet.
    ///
    /// # Errors
    /// Never: the bounds are valid.
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self { histogram: Histogram::new_with_bounds(1, MOST_US, 2)?, longest_ns: 0 })
    }

    /// Counts a duration, with two significant digits and no finer than a microsecond.
    pub(crate) fn add(&mut self, duration_ns: u64) {
        self.histogram.saturating_record((duration_ns / 1_000).max(1));
        self.longest_ns = self.longest_ns.max(duration_ns);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The quantile `part` (0 to 1) in nanoseconds; `None` without durations.
    pub(crate) fn quantile_ns(&self, part: f64) -> Option<u64> {
        (self.count() > 0)
            .then(|| self.histogram.value_at_quantile(part).saturating_mul(1_000).min(self.longest_ns))
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        // Adding fails only if the bounds differ.
        let _ = self.histogram.add(&other.histogram);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// Counts by range: below the first bound, between consecutive bounds, and from the last bound on.
    pub(crate) fn bars(&self, bounds_ns: &[u64]) -> Vec<u64> {
        let mut bars = vec![0; bounds_ns.len() + 1];
        for value in self.histogram.iter_recorded() {
            let duration_ns = value.value_iterated_to().saturating_mul(1_000);
            let at = bounds_ns.partition_point(|bound| *bound <= duration_ns);
            if let Some(bar) = bars.get_mut(at) {
                *bar += value.count_at_value();
            }
        }
        bars
    }
}

/// Round bounds, in nanoseconds, for at most [`MOST_BARS`] bars from the shortest to the longest duration.
pub(crate) fn bounds_ns(shortest_ns: u64, longest_ns: u64) -> &'static [u64] {
    let reaching = |all: &'static [u64]| {
        let first = all.partition_point(|bound| *bound <= shortest_ns).saturating_sub(1);
        let last = all.partition_point(|bound| *bound <= longest_ns).min(all.len() - 1);
        all.get(first..=last).unwrap_or_default()
    };
    let fine = reaching(&FINE_NS);
    if fine.len() <= MOST_BARS { fine } else { reaching(&COARSE_NS) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_the_bar_it_belongs_to() {
        let mut durations = DurationHistogram::new().unwrap();
        for duration in [SECOND + 1, 3 * SECOND / 2, 3 * SECOND, 90 * SECOND, 1] {
            durations.add(duration);
        }
        let bars = durations.bars(&[SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND]);
        assert_eq!(bars, [1, 2, 1, 0, 1]);
        let median = durations.quantile_ns(0.5).unwrap();
        assert!(median.abs_diff(3 * SECOND / 2) < SECOND / 50, "{median}");
    }

    #[test]
    fn the_bounds_reach_around_what_there_is() {
        let bounds = bounds_ns(3 * SECOND, 70 * SECOND);
        assert_eq!(bounds, [2, 5, 10, 20, 30, 60, 120].map(|seconds| seconds * SECOND));
        assert_eq!(bounds_ns(0, 0), [MICROSECOND]);
        assert_eq!(bounds_ns(5_000, 20 * SECOND).get(..3), Some(&[1_000, 10_000, 100_000][..]));
        assert!(bounds_ns(0, u64::MAX).len() <= MOST_BARS);
        assert!(FINE_NS.is_sorted() && COARSE_NS.is_sorted());
    }
}
