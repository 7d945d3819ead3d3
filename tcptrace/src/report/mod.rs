//! The root-cause report of recorded sessions: reads what was recorded, adds it up in bounded memory, and shows it as
//! text, JSON, one HTML page, or a trace for Perfetto.
//!
//! `aggregate` takes records and keeps sums, `build` makes a [`model::Report`] of them, the forms show that and decide
//! nothing. Nothing here looks at the live host: a report can be made anywhere, by anybody.

pub(crate) mod aggregate;
pub(crate) mod bounded;
pub(crate) mod build;
pub(crate) mod cast;
pub(crate) mod caveats;
pub(crate) mod closes;
pub(crate) mod durations;
pub(crate) mod episode;
pub(crate) mod headline;
pub(crate) mod html;
pub(crate) mod input;
pub(crate) mod model;
pub(crate) mod perfetto;
pub(crate) mod series;
pub(crate) mod side;
pub(crate) mod sums;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod window;
pub(crate) mod words;

use jiff::Timestamp;

/// Nanoseconds since 1970; times beyond some three hundred years from there are taken for the last such moment.
fn unix_ns(time: Timestamp) -> i64 {
    let ns = time.as_nanosecond();
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// The reverse of [`unix_ns`].
fn timestamp(unix_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}
