//! `tcptrace leaks`: watches live, times every socket in CLOSE_WAIT, and runs a command for each leak.

pub(crate) mod arguments;
pub(crate) mod run;
