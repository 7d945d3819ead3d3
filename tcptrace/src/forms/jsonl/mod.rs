//! The records as JSON Lines: one object a line. What a record says, and by which names, is in `model::record`.

pub(crate) mod escaped;
pub(crate) mod form;
pub(crate) mod lines;
pub(crate) mod parse;
pub(crate) mod transition;
