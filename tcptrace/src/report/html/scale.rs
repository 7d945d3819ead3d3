//! Positions along an axis, and its labels. Pure.

use jiff::{SignedDuration, Timestamp, ToSpan as _, Unit, ZonedRound, tz::TimeZone};

/// A position along an axis, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Part(pub f64);

impl Part {
    /// The share of `part` in `whole`, clamped to 0 to 1.
    pub(crate) fn of(part: f64, whole: f64) -> Self {
        if whole > 0.0 { Self((part / whole).clamp(0.0, 1.0)) } else { Self(0.0) }
    }

    /// The same, of counts.
    pub(crate) fn of_counts(part: u64, whole: u64) -> Self {
        Self::of(part as f64, whole as f64)
    }

    /// The remainder to 1.
    pub(crate) fn rest(self) -> Self {
        Self(1.0 - self.0)
    }
}

impl std::fmt::Display for Part {
    /// A CSS percentage: `12.340%`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.3}%", self.0 * 100.0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TimeAxis {
    first: Timestamp,
    last: Timestamp,
    zone: TimeZone,
}

/// A labelled position on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub at: Part,
    pub label: String,
}

impl TimeAxis {
    /// An axis from `first` to `last`, labelled in this time zone.
    pub(crate) fn new(first: Timestamp, last: Timestamp, zone: &TimeZone) -> Self {
        Self { first, last, zone: zone.clone() }
    }

    fn length(&self) -> SignedDuration {
        self.last.duration_since(self.first)
    }

    pub(crate) fn at(&self, moment: Timestamp) -> Part {
        Part::of(moment.duration_since(self.first).as_secs_f64(), self.length().as_secs_f64())
    }

    /// Round moments along the axis, about seven at most.
    pub(crate) fn ticks(&self) -> Vec<Tick> {
        const MOST: i64 = 7;
        /// Steps between ticks in milliseconds, each with the unit and increment that it is a multiple of.
        const STEPS: [(i64, Unit, i64); 23] = [
            (1, Unit::Millisecond, 1),
            (5, Unit::Millisecond, 5),
            (20, Unit::Millisecond, 20),
            (100, Unit::Millisecond, 100),
            (500, Unit::Millisecond, 500),
            (1_000, Unit::Second, 1),
            (2_000, Unit::Second, 2),
            (5_000, Unit::Second, 5),
            (10_000, Unit::Second, 10),
            (15_000, Unit::Second, 15),
            (30_000, Unit::Second, 30),
            (60_000, Unit::Minute, 1),
            (120_000, Unit::Minute, 2),
            (300_000, Unit::Minute, 5),
            (600_000, Unit::Minute, 10),
            (900_000, Unit::Minute, 15),
            (1_800_000, Unit::Minute, 30),
            (3_600_000, Unit::Hour, 1),
            (7_200_000, Unit::Hour, 2),
            (10_800_000, Unit::Hour, 3),
            (21_600_000, Unit::Hour, 6),
            (43_200_000, Unit::Hour, 12),
            (86_400_000, Unit::Day, 1),
        ];
        let length_ms = i64::try_from(self.length().as_millis()).unwrap_or(i64::MAX).max(1);
        let fitting = STEPS.into_iter().find(|(step, _, _)| length_ms / step < MOST);
        let (step_ms, unit, increment) = fitting.unwrap_or((86_400_000, Unit::Day, 1));
        // Beyond a week, a tick every few days.
        let days = length_ms / step_ms / MOST + 1;
        let span = match unit {
            Unit::Day => days.days(),
            _ => step_ms.milliseconds(),
        };
        let round = ZonedRound::new().smallest(unit).increment(increment).mode(jiff::RoundMode::Trunc);
        let Ok(mut moment) = self.first.to_zoned(self.zone.clone()).round(round) else { return Vec::new() };
        let mut ticks = Vec::new();
        while moment.timestamp() <= self.last && i64::try_from(ticks.len()).is_ok_and(|count| count <= MOST) {
            if moment.timestamp() >= self.first {
                let label = match step_ms {
                    ..1_000 => moment.strftime("%M:%S%.3f"),
                    1_000..60_000 => moment.strftime("%H:%M:%S"),
                    60_000..86_400_000 => moment.strftime("%H:%M"),
                    _ => moment.strftime("%-d %b"),
                };
                ticks.push(Tick { at: self.at(moment.timestamp()), label: label.to_string() });
            }
            match moment.checked_add(span) {
                Ok(next) => moment = next,
                Err(_) => break,
            }
        }
        ticks
    }
}

/// The next round number: one significant digit, or two from a short list.
pub(crate) fn round_up(count: u64) -> u64 {
    let mut decade: u64 = 1;
    loop {
        for tenths in [10, 12, 16, 20, 24, 30, 40, 50, 60, 80] {
            let round = decade.saturating_mul(tenths) / 10;
            if round >= count || round >= u64::MAX / 10 {
                return round.max(count);
            }
        }
        decade = decade.saturating_mul(10);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    fn labels(first: &str, last: &str) -> Vec<String> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let axis = TimeAxis::new(first.parse().unwrap(), last.parse().unwrap(), &zone);
        axis.ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_moments_where_the_reader_is() {
        assert_eq!(
            labels("2026-11-24T13:00:02Z", "2026-11-24T13:31:10Z"),
            ["14:05", "14:10", "14:15", "14:20", "14:25", "14:30"]
        );
        assert_eq!(
            labels("2026-11-24T13:00:00.2Z", "2026-11-24T13:00:06Z").first(),
            Some(&"14:00:01".to_owned())
        );
        assert_eq!(
            labels("2026-11-20T13:00:00Z", "2026-11-24T13:00:00Z"),
            ["21 Nov", "22 Nov", "23 Nov", "24 Nov"]
        );
        assert!((2..=8).contains(&labels("2026-01-01T00:00:00Z", "2026-11-24T13:00:00Z").len()));
        assert!(!labels("2026-11-24T13:00:00Z", "2026-11-24T13:00:00.02Z").is_empty());
        assert_eq!(labels("2026-11-24T13:00:00Z", "2026-11-24T13:00:00Z"), ["00:00.000"]);
    }

    #[test]
    fn counts_are_rounded_up() {
        assert_eq!([0, 1, 3, 7, 18, 112, 200, 201].map(round_up), [1, 1, 3, 8, 20, 120, 200, 240]);
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }
}
