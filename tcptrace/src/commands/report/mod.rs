//! `tcptrace report`: makes the report of kept sessions, offline and without root.

pub(crate) mod run;
