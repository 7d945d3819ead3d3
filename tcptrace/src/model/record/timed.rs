//! A value with its wall-clock time, and how times are serialized.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Something with the wall-clock time it happened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed<T> {
    /// Wall-clock time.
    pub time: Timestamp,
    /// What happened.
    pub what: T,
}

/// As every form but the text writes it: RFC 3339 with all nine digits of the nanoseconds, so
/// that lines are of one width and sort as text.
pub(crate) struct NanosecondTime<'a>(pub &'a Timestamp);

impl Serialize for NanosecondTime<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.9}", self.0))
    }
}

/// A time with all nine digits (serde's `with`).
pub(crate) mod nanoseconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    use super::NanosecondTime;

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        NanosecondTime(time).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}
