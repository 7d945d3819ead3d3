//! Turns the addresses of a stack into lines of code. Reads untrusted files: bounded, and on a thread with a deadline.

pub(crate) mod deadline;
pub(crate) mod frame;
mod go;
mod mappings;
pub(crate) mod perf_map;
pub(crate) mod symbols;
pub(crate) mod unwind;
