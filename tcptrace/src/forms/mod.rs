//! The forms that records can have, one file or folder each, and reading them back. A form does no I/O.
//!
//! [`form`] says what a form is, [`table`] which there are.

pub(crate) mod csv;
pub(crate) mod encoder;
pub(crate) mod form;
pub(crate) mod jsonl;
pub(crate) mod palette;
#[cfg(test)]
mod pinned;
pub(crate) mod reading;
pub(crate) mod table;
pub(crate) mod tct;
pub(crate) mod text;
pub(crate) mod time_text;
pub(crate) mod view;
