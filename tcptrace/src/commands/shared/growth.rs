//! How fast the stuck sockets of a process become more. Pure.
//!
//! The rate is the Theil–Sen estimate: the median of the slopes between all pairs of samples (Sen 1968,
//! "Estimates of the Regression Coefficient Based on Kendall's Tau"). A burst moves only the pairs that
//! lie across it, so one deploy or one bad minute does not pass for a trend, while a leak that drips
//! evenly shows at its true rate however slow it is.

/// Samples kept; when there are more, every other one is dropped and further ones are taken half as often.
const MAX_SAMPLES: usize = 128;

/// Fewer samples, or a shorter time, say nothing.
const FEWEST_SAMPLES: usize = 4;
const SHORTEST_NS: u64 = 5_000_000_000;

/// When samples are taken: the same moments for all processes.
#[derive(Clone, Debug)]
pub(crate) struct SampleTimes {
    times: Vec<u64>,
    /// Of so many chances to take a sample, one is taken.
    stride: u32,
    chances: u32,
}

impl Default for SampleTimes {
    fn default() -> Self {
        Self { times: Vec::new(), stride: 1, chances: 0 }
    }
}

/// What is to be done with a process's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Nothing this time.
    Skip,
    Take,
    /// Drop every other one, then take one.
    ThinAndTake,
}

impl SampleTimes {
    /// Called at regular intervals, with CLOCK_MONOTONIC in nanoseconds.
    pub(crate) fn tick(&mut self, now_ns: u64) -> Sampling {
        self.chances += 1;
        if self.chances < self.stride {
            return Sampling::Skip;
        }
        self.chances = 0;
        let is_full = self.times.len() >= MAX_SAMPLES;
        if is_full {
            thin(&mut self.times);
            self.stride = self.stride.saturating_mul(2);
        }
        self.times.push(now_ns);
        if is_full { Sampling::ThinAndTake } else { Sampling::Take }
    }
}

/// Keeps the first, the third, the fifth …
fn thin<T: Copy>(samples: &mut Vec<T>) {
    let kept: Vec<T> = samples.iter().step_by(2).copied().collect();
    *samples = kept;
}

/// The number of stuck sockets of one process, at each of the sample times since it first had one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    counts: Vec<u32>,
}

impl Series {
    /// Takes a sample, as [`SampleTimes::tick`] said, of which the times are in `times`.
    pub(crate) fn take(&mut self, times: &SampleTimes, sampling: Sampling, count: u64) {
        if sampling == Sampling::Skip {
            return;
        }
        if sampling == Sampling::ThinAndTake {
            thin(&mut self.counts);
        }
        // A process that is new had none at the earlier times.
        self.counts.resize(times.times.len().saturating_sub(1), 0);
        self.counts.push(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Sockets a minute; `None` when there are too few samples to tell.
    pub(crate) fn per_minute(&self, times: &SampleTimes) -> Option<f64> {
        let samples: Vec<(u64, u32)> = times.times.iter().copied().zip(self.counts.iter().copied()).collect();
        let (first, last) = (samples.first()?.0, samples.last()?.0);
        if samples.len() < FEWEST_SAMPLES || last.saturating_sub(first) < SHORTEST_NS {
            return None;
        }
        let mut slopes: Vec<f64> = Vec::with_capacity(samples.len() * samples.len() / 2);
        for (index, (earlier, before)) in samples.iter().enumerate() {
            for (later, after) in samples.iter().skip(index + 1) {
                let minutes = later.saturating_sub(*earlier).max(1) as f64 / 60e9;
                slopes.push((f64::from(*after) - f64::from(*before)) / minutes);
            }
        }
        let middle = slopes.len() / 2;
        let (_, median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
        Some((*median * 10.0).round() / 10.0)
    }
}

/// When a process runs out of descriptors at this rate, in nanoseconds from now; `None` when it does
/// not, or not within a year.
pub(crate) fn descriptors_run_out_in_ns(used: u64, limit: u64, per_minute: f64) -> Option<u64> {
    const YEAR_MINUTES: f64 = 525_600.0;
    if per_minute <= 0.0 {
        return None;
    }
    let minutes = limit.saturating_sub(used) as f64 / per_minute;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and within a year"
    )]
    (minutes < YEAR_MINUTES).then_some((minutes * 60e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(seconds: u64, count_at: impl Fn(u64) -> u64) -> Option<f64> {
        let (mut times, mut series) = (SampleTimes::default(), Series::default());
        for second in 0..seconds {
            let sampling = times.tick(second * SECOND);
            series.take(&times, sampling, count_at(second));
        }
        series.per_minute(&times)
    }

    fn is_about(rate: Option<f64>, expected: f64) {
        let rate = rate.unwrap_or(f64::NAN);
        assert!((rate - expected).abs() <= expected.abs() * 0.05 + 0.1, "{rate}, expected {expected}");
    }

    #[test]
    fn a_steady_leak_has_its_rate_whatever_it_is() {
        is_about(rate(60, |second| second * 5), 300.0);
        // One every forty seconds, over an hour.
        is_about(rate(3_600, |second| second / 40), 1.5);
        is_about(rate(60, |_| 0), 0.0);
        is_about(rate(60, |second| 1_000 - second * 2), -120.0);
    }

    #[test]
    fn a_burst_is_no_trend() {
        is_about(rate(300, |second| if second > 30 { 5_000 } else { 0 }), 0.0);
        is_about(rate(300, |second| second + if second > 200 { 5_000 } else { 0 }), 60.0);
        // What was there at the start is reported within the first second.
        is_about(rate(120, |second| if second > 0 { 800 + second } else { 0 }), 60.0);
    }

    #[test]
    fn a_short_session_says_nothing() {
        assert_eq!(rate(3, |second| second), None);
        assert_eq!(rate(0, |second| second), None);
    }

    #[test]
    fn samples_are_bounded_and_stay_aligned() {
        let (mut times, mut series) = (SampleTimes::default(), Series::default());
        for second in 0..100_000 {
            let sampling = times.tick(second * SECOND);
            if second > 500 {
                series.take(&times, sampling, second);
            }
            assert!(times.times.len() <= MAX_SAMPLES);
            assert!(series.counts.len() <= times.times.len());
        }
        assert_eq!(series.counts.len(), times.times.len());
        is_about(series.per_minute(&times), 60.0);
    }

    #[test]
    fn the_forecast_is_the_room_that_is_left_by_the_rate() {
        assert_eq!(descriptors_run_out_in_ns(400, 1_000, 60.0), Some(600 * SECOND));
        assert_eq!(descriptors_run_out_in_ns(400, 1_000, 0.0), None);
        assert_eq!(descriptors_run_out_in_ns(400, 1_000, -3.0), None);
        assert_eq!(descriptors_run_out_in_ns(1_200, 1_000, 1.0), Some(0));
        assert_eq!(descriptors_run_out_in_ns(0, u64::MAX, 1.0), None);
    }
}
