//! Points in time as a report counts and shows them. Reads no clock.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Nanoseconds since 1970, clamped to the roughly 290 years either way that fit.
pub(crate) fn unix_ns(time: Timestamp) -> i64 {
    let ns = time.as_nanosecond();
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// The reverse of [`unix_ns`].
pub(crate) fn timestamp(unix_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A time, serialized as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub Timestamp);

impl Time {
    pub(crate) fn from_unix_ns(unix_ns: i64) -> Self {
        Self(timestamp(unix_ns))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
