//! The forms that records can have, one file or folder each, and reading them back. A form does no I/O.
//!
//! [`form`] says what a form is; the table of those that there are is here.

pub(crate) mod csv;
pub(crate) mod detection;
pub(crate) mod encoder;
pub(crate) mod form;
pub(crate) mod jsonl;
pub(crate) mod palette;
#[cfg(test)]
mod pinned;
pub(crate) mod reading;

pub(crate) mod tct;
pub(crate) mod text;
pub(crate) mod time_text;
pub(crate) mod view;

use self::form::Format;

/// All forms, in the order in which `--help` lists them.
pub(crate) static FORMS: &[&Format] =
    &[&text::form::FORMAT, &jsonl::form::FORMAT, &csv::form::FORMAT, &tct::form::FORMAT];

/// The form where nobody asked for another.
pub(crate) static DEFAULT: &Format = &text::form::FORMAT;
