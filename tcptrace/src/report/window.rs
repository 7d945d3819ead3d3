//! The moments that `--from` and `--to` name. Pure: the extent of the recordings and the time zone are arguments.

use jiff::{
    SignedDuration, Timestamp,
    civil::{DateTime, Time},
    tz::TimeZone,
};

use super::{sums::Window, time::unix_ns};

/// A moment as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// RFC 3339 with an offset.
    At(Timestamp),
    /// Date and time in the reader's zone.
    Local(DateTime),
    /// A time of day in the reader's zone, within the recordings.
    TimeOfDay(Time),
    /// This long after the start of the recordings.
    AfterStart(SignedDuration),
    /// This long before the end of the recordings.
    BeforeEnd(SignedDuration),
}

/// The time the recordings cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordedSpan {
    pub first: Timestamp,
    pub last: Timestamp,
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "a time is like 2026-11-24T14:05:00Z, 2026-11-24 14:05 or 14:05 (both local), +5m (after the beginning) \
             or -10m (before the end)"
                .to_owned()
        };
        let length = |text: &str| {
            let duration = humantime::parse_duration(text).map_err(|_| wrong())?;
            SignedDuration::try_from(duration).map_err(|_| wrong())
        };
        if let Some(after) = text.strip_prefix('+') {
            return length(after).map(Self::AfterStart);
        }
        if let Some(before) = text.strip_prefix('-') {
            return length(before).map(Self::BeforeEnd);
        }
        if let Ok(timestamp) = text.parse() {
            return Ok(Self::At(timestamp));
        }
        // A date alone would parse as midnight, which nobody means.
        if text.contains(':') {
            if let Ok(local) = text.parse() {
                return Ok(Self::Local(local));
            }
            if let Ok(time) = text.parse() {
                return Ok(Self::TimeOfDay(time));
            }
        }
        Err(wrong())
    }
}

impl Moment {
    /// Whether it depends on the time the recordings cover.
    pub(crate) fn needs_extent(&self) -> bool {
        !matches!(self, Self::At(_) | Self::Local(_))
    }

    /// The point in time. A time of day means its first occurrence after the recordings begin, if they reach that far,
    /// else the one on the day they begin.
    fn resolve(&self, extent: Option<RecordedSpan>, zone: &TimeZone) -> Option<Timestamp> {
        let local = |time: DateTime| zone.to_timestamp(time).ok();
        match self {
            Self::At(timestamp) => Some(*timestamp),
            Self::Local(time) => local(*time),
            Self::TimeOfDay(time) => {
                let RecordedSpan { first, last } = extent?;
                let day = zone.to_datetime(first).date();
                let today = local(day.to_datetime(*time))?;
                let tomorrow = day.tomorrow().ok().and_then(|day| local(day.to_datetime(*time)));
                Some(tomorrow.filter(|tomorrow| today < first && *tomorrow <= last).unwrap_or(today))
            }
            Self::AfterStart(after) => extent?.first.checked_add(*after).ok(),
            Self::BeforeEnd(before) => extent?.last.checked_sub(*before).ok(),
        }
    }
}

/// The window between two moments.
///
/// # Errors
pub(crate) fn window(
    from: Option<&Moment>,
    to: Option<&Moment>,
    extent: Option<RecordedSpan>,
    zone: &TimeZone,
) -> Result<Window, String> {
    let resolve = |moment: Option<&Moment>| moment.and_then(|moment| moment.resolve(extent, zone));
    let (from, to) = (resolve(from), resolve(to));
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(format!("--from {from} is after --to {to}: nothing lies in between"));
    }
    Ok(Window { from_ns: from.map_or(i64::MIN, unix_ns), to_ns: to.map_or(i64::MAX, unix_ns) })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    fn resolved(typed: &str, first: &str, last: &str) -> String {
        let extent = RecordedSpan { first: first.parse().unwrap(), last: last.parse().unwrap() };
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        typed.parse::<Moment>().unwrap().resolve(Some(extent), &zone).unwrap().to_string()
    }

    #[test]
    fn moments_are_absolute_local_or_relative_to_the_recordings() {
        let resolved = |typed| resolved(typed, "2026-11-24T13:00:00Z", "2026-11-24T15:00:00Z");
        assert_eq!(resolved("2026-11-24T14:05:00Z"), "2026-11-24T14:05:00Z");
        assert_eq!(resolved("2026-11-24T14:05:00+01:00"), "2026-11-24T13:05:00Z");
        assert_eq!(resolved("2026-11-24 14:05"), "2026-11-24T13:05:00Z");
        assert_eq!(resolved("14:05"), "2026-11-24T13:05:00Z");
        assert_eq!(resolved("14:05:30.5"), "2026-11-24T13:05:30.5Z");
        assert_eq!(resolved("+5m"), "2026-11-24T13:05:00Z");
        assert_eq!(resolved("-1h 30m"), "2026-11-24T13:30:00Z");
    }

    #[test]
    fn a_time_of_day_after_midnight_is_on_the_day_the_recordings_reach_into() {
        let over_midnight = |typed| resolved(typed, "2026-11-24T21:00:00Z", "2026-11-25T03:00:00Z");
        assert_eq!(over_midnight("00:30"), "2026-11-24T23:30:00Z");
        assert_eq!(over_midnight("23:30"), "2026-11-24T22:30:00Z");
        // Not reached: before the beginning, so that everything is after it.
        assert_eq!(over_midnight("10:00"), "2026-11-24T09:00:00Z");
    }

    #[test]
    fn nonsense_is_refused_with_examples() {
        for wrong in ["", "yesterday", "25:00", "2026-11-24", "-", "+", "-10", "10m", "14"] {
            let refused = wrong.parse::<Moment>();
            assert!(refused.as_ref().is_err_and(|error| error.contains("-10m")), "{wrong}: {refused:?}");
        }
        let moment = |text: &str| text.parse::<Moment>().unwrap();
        let (late, early) = (moment("2026-11-24T14:05:00Z"), moment("2026-11-24T14:04:00Z"));
        assert!(window(Some(&late), Some(&early), None, &TimeZone::UTC).is_err());
        assert_eq!(window(None, None, None, &TimeZone::UTC), Ok(Window::ALL));
    }
}
