//! `tcptrace trace`: every state transition as it happens, or as it was recorded.

pub(crate) mod arguments;
pub(crate) mod replay;
pub(crate) mod run;
