//! The root-cause report of recorded sessions: reads what was recorded, adds it up in bounded memory, and shows it as
//! text, JSON, one HTML page, or a trace for Perfetto.
//!
//! `aggregate` takes records and keeps sums, `build` makes a [`model::Report`] of them, the forms show that and decide
//! nothing. Nothing here looks at the live host: a report can be made anywhere, by anybody.

pub mod aggregate;
mod bounded;
mod build;
mod cast;
mod caveats;
mod closes;
mod durations;
mod episode;
mod headline;
mod html;
mod input;
pub mod model;
pub mod output;
mod perfetto;
pub mod run;
mod series;
mod side;
pub mod sums;
#[cfg(test)]
mod tests;
mod text;
pub mod window;
mod words;

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
