//! How long a socket has been in CLOSE_WAIT, and how certain that is.

use serde::{Deserialize, Serialize};

use crate::model::close_wait::Since;

/// How long a socket has been in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AgeFields", into = "AgeFields")]
pub struct Age {
    /// In nanoseconds.
    pub ns: u64,
    /// False when it began before it could be seen, so that it is this long at least.
    pub is_exact: bool,
    /// For an age that is not exact: it is at most this long, in nanoseconds, when even that is known.
    pub at_most_ns: Option<u64>,
}

impl Age {
    /// Of a socket that has been in CLOSE_WAIT `since` some time, at `now_ns` (CLOCK_MONOTONIC).
    pub fn at(since: Since, now_ns: u64) -> Self {
        let (ns, at_most_ns) = since.age_at(now_ns);
        Self { ns, is_exact: since.is_exact(), at_most_ns }
    }

    /// The longest that it can be, in nanoseconds, when that is known.
    pub fn at_most(&self) -> Option<u64> {
        if self.is_exact { Some(self.ns) } else { self.at_most_ns }
    }
}

/// What `close_wait_ns` is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Certainty {
    Exact,
    AtLeast,
}

/// An age among the fields of a record; all are null where there is none.
#[derive(Serialize, Deserialize)]
struct AgeFields {
    close_wait_ns: Option<u64>,
    close_wait_is: Option<Certainty>,
    close_wait_at_most_ns: Option<u64>,
}

impl From<Age> for AgeFields {
    fn from(age: Age) -> Self {
        Self {
            close_wait_ns: Some(age.ns),
            close_wait_is: Some(if age.is_exact { Certainty::Exact } else { Certainty::AtLeast }),
            close_wait_at_most_ns: age.at_most(),
        }
    }
}

impl TryFrom<AgeFields> for Option<Age> {
    type Error = &'static str;

    fn try_from(fields: AgeFields) -> Result<Self, Self::Error> {
        let AgeFields { close_wait_ns, close_wait_is, close_wait_at_most_ns } = fields;
        let Some(ns) = close_wait_ns else { return Ok(None) };
        match close_wait_is {
            None => Err("missing field `close_wait_is`"),
            Some(Certainty::Exact) => Ok(Some(Age { ns, is_exact: true, at_most_ns: None })),
            Some(Certainty::AtLeast) => {
                Ok(Some(Age { ns, is_exact: false, at_most_ns: close_wait_at_most_ns }))
            }
        }
    }
}

impl TryFrom<AgeFields> for Age {
    type Error = &'static str;

    fn try_from(fields: AgeFields) -> Result<Self, Self::Error> {
        Option::try_from(fields)?.ok_or("missing field `close_wait_ns`")
    }
}

/// How a record has an age that may not be known (serde's `with`).
pub(super) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use super::{Age, AgeFields};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(age: &Option<Age>, serializer: S) -> Result<S::Ok, S::Error> {
        let nothing = AgeFields { close_wait_ns: None, close_wait_is: None, close_wait_at_most_ns: None };
        age.map_or(nothing, AgeFields::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Age>, D::Error> {
        AgeFields::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}
