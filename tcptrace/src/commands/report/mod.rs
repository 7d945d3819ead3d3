//! `tcptrace report`: makes the report of kept sessions, offline and without root.

pub(crate) mod arguments;
pub(crate) mod run;
