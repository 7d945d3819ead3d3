//! Amounts over time in a bounded number of steps: when time outgrows them, the length of a step doubles.
//! Steps align to the clock, not to the first amount, so that series can be stacked.

use std::collections::VecDeque;

/// Most steps in a series.
const MOST_STEPS: i64 = 240;

/// The shortest step: a millisecond.
const SHORTEST_NS: i64 = 1_000_000;

/// Most doublings: the series then covers all representable times.
const MOST_DOUBLINGS: u32 = 43;

/// Amounts over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimeSeries {
    doublings: u32,
    /// The number of the first step since 1970.
    first: i64,
    amounts: VecDeque<i64>,
}

/// The steps shared by several series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    doublings: u32,
    first: i64,
    pub count: usize,
}

fn step_ns(doublings: u32) -> i64 {
    SHORTEST_NS << doublings.min(MOST_DOUBLINGS)
}

impl Axis {
    /// For the time from `first_ns` to `last_ns`, both in nanoseconds since 1970 and included.
    pub(crate) fn covering(first_ns: i64, last_ns: i64) -> Self {
        let mut axis = Self { doublings: 0, first: 0, count: 0 };
        loop {
            let step = axis.step_ns();
            axis.first = first_ns.div_euclid(step);
            let steps = last_ns.max(first_ns).div_euclid(step) - axis.first + 1;
            if steps <= MOST_STEPS || axis.doublings >= MOST_DOUBLINGS {
                axis.count = usize::try_from(steps.clamp(1, MOST_STEPS)).unwrap_or(1);
                return axis;
            }
            axis.doublings += 1;
        }
    }

    /// Length of a step in nanoseconds.
    pub(crate) fn step_ns(&self) -> i64 {
        step_ns(self.doublings)
    }

    /// Where the first step begins, in nanoseconds since 1970.
    pub(crate) fn start_ns(&self) -> i64 {
        self.first.saturating_mul(self.step_ns())
    }
}

impl TimeSeries {
    /// Adds an amount at a time in nanoseconds since 1970.
    pub(crate) fn add(&mut self, at_ns: i64, amount: i64) {
        let mut step = at_ns.div_euclid(step_ns(self.doublings));
        if self.amounts.is_empty() {
            self.first = step;
        }
        loop {
            let length = i64::try_from(self.amounts.len()).unwrap_or(MOST_STEPS);
            let last = (self.first + length - 1).max(step);
            if last - self.first.min(step) < MOST_STEPS || self.doublings >= MOST_DOUBLINGS {
                break;
            }
            self.double();
            step = step.div_euclid(2);
        }
        while step < self.first {
            self.amounts.push_front(0);
            self.first -= 1;
        }
        let Ok(at) = usize::try_from(step - self.first) else { return };
        if at >= self.amounts.len() {
            self.amounts.resize(at + 1, 0);
        }
        if let Some(slot) = self.amounts.get_mut(at) {
            *slot += amount;
        }
    }

    fn double(&mut self) {
        let first = self.first.div_euclid(2);
        let mut doubled: VecDeque<i64> = VecDeque::with_capacity(self.amounts.len() / 2 + 1);
        for (step, amount) in (self.first..).zip(&self.amounts) {
            let Ok(at) = usize::try_from(step.div_euclid(2) - first) else { continue };
            match doubled.get_mut(at) {
                Some(slot) => *slot += amount,
                None => doubled.push_back(*amount),
            }
        }
        (self.doublings, self.first, self.amounts) = (self.doublings + 1, first, doubled);
    }

    /// A copy with steps at least as long as the axis has.
    fn as_coarse_as(&self, axis: &Axis) -> Self {
        let mut series = self.clone();
        while series.doublings < axis.doublings {
            series.double();
        }
        series
    }

    /// The amount in each step of the axis.
    pub(crate) fn amounts(&self, axis: &Axis) -> Vec<i64> {
        let series = self.as_coarse_as(axis);
        // An axis that covers the series is at least as coarse. Amounts outside the axis are left out.
        let at = |step: i64| usize::try_from(step - series.first).ok().and_then(|at| series.amounts.get(at));
        (axis.first..).take(axis.count).map(|step| at(step).copied().unwrap_or_default()).collect()
    }

    /// The running total at the end of each step of the axis, starting with the amounts before it.
    pub(crate) fn levels(&self, axis: &Axis) -> Vec<i64> {
        let series = self.as_coarse_as(axis);
        let before = (series.first..axis.first).zip(&series.amounts);
        let mut level: i64 = before.map(|(_, amount)| amount).sum();
        let sum = |amount| {
            level += amount;
            level
        };
        series.amounts(axis).into_iter().map(sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn an_hour_and_a_second_fit_alike() {
        for length in [SECOND, 3_600 * SECOND, 400 * 86_400 * SECOND] {
            let mut series = TimeSeries::default();
            let start = 1_700_000_000 * SECOND;
            for part in 0..1_000 {
                series.add(start + length / 1_000 * part, 1);
            }
            let axis = Axis::covering(start, start + length);
            let amounts = series.amounts(&axis);
            assert_eq!(amounts.iter().sum::<i64>(), 1_000, "over {length} ns");
            assert!((120..=240).contains(&axis.count), "{axis:?}");
            assert_eq!(series.levels(&axis).last(), Some(&1_000));
        }
    }

    #[test]
    fn a_level_is_what_is_open_at_the_end_of_a_step() {
        let mut series = TimeSeries::default();
        for (at, amount) in [(0, 1), (10, 1), (20, -1), (200, -1)] {
            series.add(at * SECOND, amount);
        }
        let axis = Axis::covering(0, 239 * SECOND);
        let step = axis.step_ns();
        let levels = series.levels(&axis);
        let level_at = |at: i64| levels[usize::try_from(at * SECOND / step).unwrap_or_default()];
        assert_eq!([level_at(5), level_at(15), level_at(100), level_at(230)], [1, 2, 1, 0]);
        let late = Axis::covering(50 * SECOND, 239 * SECOND);
        assert_eq!(series.levels(&late).first(), Some(&1), "what was before counts");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_the_order(times in proptest::collection::vec(any::<i64>(), 1..60)) {
            let mut series = TimeSeries::default();
            for at in &times {
                series.add(*at, 1);
            }
            let axis = Axis::covering(*times.iter().min().unwrap_or(&0), *times.iter().max().unwrap_or(&0));
            prop_assert_eq!(series.amounts(&axis).iter().sum::<i64>(), i64::try_from(times.len()).unwrap_or(i64::MAX));
            prop_assert!(series.amounts.len() <= 240);
        }
    }
}
