//! From the addresses of a stack to lines of code. Reads what strangers made: bounded, and on a thread with a deadline.

pub(crate) mod deadline;
pub(crate) mod frame;
pub(crate) mod perf_map;
pub(crate) mod symbols;
