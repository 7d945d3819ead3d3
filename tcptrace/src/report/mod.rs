//! The root-cause report on recorded sessions: reads recordings, sums them up in bounded memory, and renders the result
//! as text, JSON, one HTML page, or a trace for Perfetto.
//!
//! `aggregate` takes records and keeps sums, `assemble` turns the sums into a [`model::Report`], the forms render that
//! and decide nothing. Nothing here looks at the live host: a report can be made on any machine, without privileges.

pub(crate) mod aggregate;
pub(crate) mod asked_for;
pub(crate) mod asked_names;
pub(crate) mod assemble;
pub(crate) mod bounded;
pub(crate) mod caveats;
pub(crate) mod closings;
pub(crate) mod durations;
pub(crate) mod entities;
pub(crate) mod headline;
pub(crate) mod holders_at_end;
pub(crate) mod html;
pub(crate) mod input;
pub(crate) mod later_look;
pub(crate) mod model;
pub(crate) mod over;
pub(crate) mod perfetto;
pub(crate) mod series;
pub(crate) mod session_kind;
pub(crate) mod shared;
pub(crate) mod side;
pub(crate) mod stay;
pub(crate) mod sums;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod window;
pub(crate) mod words;
