//! How fast something becomes more at present: stuck sockets, descriptors in use, connections in a queue, ports that are
//! held. Pure.
//!
//! A rate is about what happens now, and a forecast needs more than one event. So a level is kept by its latest changes,
//! not by its samples: they cover a minute of a fast leak and an hour of a slow one. It rises when it went up in three
//! separate samples, and has not stopped: a pause is the end when it is longer than twice the longest one before it. The
//! rate is the Theil–Sen estimate over the time of those changes, the median of the slopes between all pairs of points
//! (Sen 1968), and counts when Kendall's test finds a trend at all: levels of busy processes go up and down.

use std::collections::VecDeque;

/// Changes kept.
const MAX_CHANGES: usize = 64;

/// A level that went up less often has no trend.
const FEWEST_STEPS: usize = 3;

/// A level that was followed for less than a minute has to go up more often before anything is forecast: a burst at the
/// start looks like a trend.
const FEWEST_STEPS_AT_FIRST: usize = 5;
const AT_FIRST_NS: u64 = 60_000_000_000;

/// A shorter time says nothing.
const SHORTEST_NS: u64 = 5_000_000_000;

/// A pause is no end before this, whatever came before: samples are about a second apart.
const SHORTEST_PAUSE_NS: u64 = 3_000_000_000;

/// After this long, a change or two are over.
const FEW_ARE_OVER_NS: u64 = 10_000_000_000;

/// Points that the rate is computed from.
const POINTS: u64 = 32;

/// Kendall's S of a level without a trend exceeds this many standard deviations in one of forty cases.
const SIGNIFICANT: f64 = 1.96;

/// A level over time, by its latest changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    /// The first sample, then each change: CLOCK_MONOTONIC in nanoseconds, and the level from then on.
    changes: VecDeque<(u64, u64)>,
}

impl Level {
    /// A level that was this at a time.
    pub(crate) fn since(at_ns: u64, level: u64) -> Self {
        Self { changes: VecDeque::from([(at_ns, level)]) }
    }

    /// Takes a sample.
    pub(crate) fn note(&mut self, at_ns: u64, level: u64) {
        if self.latest() == Some(level) {
            return;
        }
        if self.changes.len() > MAX_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back((at_ns, level));
    }

    /// The level at the latest sample.
    pub(crate) fn latest(&self) -> Option<u64> {
        self.changes.back().map(|(_, level)| *level)
    }

    /// By how much it changes a minute, up or down; `None` when there is too little to tell.
    pub(crate) fn per_minute(&self, now_ns: u64) -> Option<f64> {
        let (first, last) = (self.changes.front()?.0, self.changes.back()?.0);
        let pause = now_ns.saturating_sub(last);
        let changes = self.changes.len() - 1;
        if now_ns.saturating_sub(first) < SHORTEST_NS {
            return None;
        }
        if changes < FEWEST_STEPS {
            return (changes == 0 || pause >= FEW_ARE_OVER_NS).then_some(0.0);
        }
        if is_over(self.changes.iter().skip(1).map(|(at, _)| *at), now_ns) {
            return Some(0.0);
        }
        Some((self.slope(now_ns) * 60e9 * 10.0).round() / 10.0)
    }

    /// By how much it rises a second; `None` when it does not, or not for certain.
    pub(crate) fn rise_per_second(&self, now_ns: u64) -> Option<f64> {
        let first = self.changes.front()?.0;
        let pairs = self.changes.iter().zip(self.changes.iter().skip(1));
        let ups = || pairs.clone().filter(|((_, before), (_, after))| after > before).map(|(_, (at, _))| *at);
        let lasted = now_ns.saturating_sub(first);
        let fewest = if lasted < AT_FIRST_NS { FEWEST_STEPS_AT_FIRST } else { FEWEST_STEPS };
        if ups().count() < fewest || lasted < SHORTEST_NS || is_over(ups(), now_ns) {
            return None;
        }
        Some(self.slope(now_ns) * 1e9).filter(|rate| *rate > 0.0)
    }

    /// When it reaches a limit, in nanoseconds from now; `None` when it does not rise, or not within a year.
    pub(crate) fn reaches_in_ns(&self, limit: u64, now_ns: u64) -> Option<u64> {
        const YEAR_SECONDS: f64 = 31_536_000.0;
        let seconds = limit.saturating_sub(self.latest()?) as f64 / self.rise_per_second(now_ns)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and within a year"
        )]
        (seconds < YEAR_SECONDS).then_some((seconds * 1e9) as u64)
    }

    /// Change a nanosecond; 0 when there is no trend.
    fn slope(&self, now_ns: u64) -> f64 {
        let Some((first, _)) = self.changes.front() else { return 0.0 };
        let lasted = now_ns.saturating_sub(*first);
        let step = (lasted / POINTS).max(1);
        let mut changes = self.changes.iter().peekable();
        let mut level = 0;
        let points: Vec<(f64, f64)> = (0..=POINTS)
            .map(|nth| {
                let at = first.saturating_add(step.saturating_mul(nth));
                while let Some((_, now)) = changes.next_if(|(changed, _)| *changed <= at) {
                    level = *now;
                }
                ((step.saturating_mul(nth)) as f64, level as f64)
            })
            .collect();
        let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
        let mut kendall = 0.0;
        for (nth, (earlier, before)) in points.iter().enumerate() {
            for (later, after) in points.iter().skip(nth + 1) {
                let slope = (after - before) / (later - earlier).max(1.0);
                kendall += if slope == 0.0 { 0.0 } else { slope.signum() };
                slopes.push(slope);
            }
        }
        let n = points.len() as f64;
        let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        if kendall.abs() < SIGNIFICANT * deviation {
            return 0.0;
        }
        let middle = slopes.len() / 2;
        *slopes.select_nth_unstable_by(middle, f64::total_cmp).1
    }
}

/// Whether events at these times, in their order, have come to an end.
fn is_over(times: impl Iterator<Item = u64>, now_ns: u64) -> bool {
    let (mut last, mut longest) = (None, SHORTEST_PAUSE_NS / 2);
    for at in times {
        longest = longest.max(last.map_or(0, |last| at.saturating_sub(last)));
        last = Some(at);
    }
    last.is_none_or(|last| now_ns.saturating_sub(last) > longest.saturating_mul(2))
}

/// Events of the recent past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrivals {
    /// How many a second there are at present; 0 when they have come to an end.
    pub per_second: f64,
    /// Whether they came in three separate moments at least, and still do: only then a forecast may go by them.
    pub is_trend: bool,
}

impl Arrivals {
    /// Of events with these ages in milliseconds, none older than the time that was watched.
    pub(crate) fn of(mut ages_ms: Vec<u32>, watched_ms: u32) -> Self {
        /// Parts of the time, of which each is one moment.
        const MOMENTS: u32 = 20;
        ages_ms.sort_unstable();
        let Some(youngest) = ages_ms.first().copied() else {
            return Self { per_second: 0.0, is_trend: false };
        };
        let moment = (watched_ms / MOMENTS).max(1);
        let pause = |pair: &[u32]| pair.last().zip(pair.first()).map_or(0, |(last, first)| last - first);
        let longest = ages_ms.windows(2).map(pause).max().unwrap_or_default().max(moment);
        let mut moments: Vec<u32> = ages_ms.iter().map(|age| age / moment).collect();
        moments.dedup();
        let is_over = youngest > longest.saturating_mul(2);
        Self {
            per_second: if is_over { 0.0 } else { ages_ms.len() as f64 * 1e3 / f64::from(watched_ms.max(1)) },
            is_trend: !is_over && moments.len() >= FEWEST_STEPS,
        }
    }
}

#[cfg(test)]
mod tests;
