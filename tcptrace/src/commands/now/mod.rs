//! `tcptrace now`: one look at the sockets that are stuck at this moment.

pub(crate) mod arguments;
pub(crate) mod grouping;
pub(crate) mod run;
