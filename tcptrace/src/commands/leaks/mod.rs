//! `tcptrace leaks`: watches live, times every socket in CLOSE_WAIT, and runs a command for each leak.

pub(crate) mod arguments;
pub(crate) mod exec;
pub(crate) mod exec_arguments;
pub(crate) mod run;
