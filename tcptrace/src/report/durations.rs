//! How long stays in CLOSE_WAIT were: a histogram whose memory does not depend on how many there were.

use hdrhistogram::{CreationError, Histogram};

/// The longest that is told apart: ten years, in microseconds.
const MOST_US: u64 = 10 * 365 * 86_400 * 1_000_000;

/// Bounds of the bars that are drawn, in nanoseconds: one, two and five of each decade from a hundred microseconds.
const FIRST_DECADE_NS: u64 = 100_000;

/// Durations.
#[derive(Clone, Debug)]
pub struct Durations {
    histogram: Histogram<u64>,
}

impl Durations {
    /// None yet.
    ///
    /// # Errors
    /// Never: the bounds are valid.
    pub fn new() -> Result<Self, CreationError> {
        Ok(Self { histogram: Histogram::new_with_bounds(1, MOST_US, 2)? })
    }

    /// Counts one, in nanoseconds; told apart to a hundredth, and no finer than a microsecond.
    pub fn add(&mut self, duration_ns: u64) {
        self.histogram.saturating_record((duration_ns / 1_000).max(1));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The duration that this part (0 to 1) of all does not exceed, in nanoseconds; `None` when there are none.
    pub fn quantile_ns(&self, part: f64) -> Option<u64> {
        (self.count() > 0).then(|| self.histogram.value_at_quantile(part).saturating_mul(1_000))
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        // The bounds are the same, so there is nothing that could not be added.
        let _ = self.histogram.add(&other.histogram);
    }

    /// How many there are below each bound and not below the one before; the last entry are those from the last bound
    /// on. One more than there are bounds.
    pub fn bars(&self, bounds_ns: &[u64]) -> Vec<u64> {
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

/// Bounds for bars that reach from the shortest to the longest of the given durations, in nanoseconds.
pub fn bounds_ns(shortest_ns: u64, longest_ns: u64) -> Vec<u64> {
    let steps = (0..).map(|nth: u32| FIRST_DECADE_NS.saturating_mul(10u64.saturating_pow(nth)));
    let all: Vec<u64> =
        steps.take(12).flat_map(|decade| [1, 2, 5].map(|part| decade.saturating_mul(part))).collect();
    let first = all.partition_point(|bound| *bound <= shortest_ns).saturating_sub(1);
    let last = all.partition_point(|bound| *bound <= longest_ns);
    all.get(first..=last.min(all.len().saturating_sub(1))).unwrap_or_default().to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn every_duration_is_in_the_bar_it_belongs_to() {
        let mut durations = Durations::new().unwrap();
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
        assert_eq!(bounds, [2, 5, 10, 20, 50, 100].map(|seconds| seconds * SECOND));
        assert_eq!(bounds_ns(0, 0), [FIRST_DECADE_NS]);
        assert!(bounds_ns(0, u64::MAX).len() <= 36);
    }
}
