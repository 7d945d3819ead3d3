//! The commands.

pub(crate) mod report;
pub(crate) mod time_wait;
