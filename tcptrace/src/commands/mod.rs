//! The commands.

pub(crate) mod time_wait;
