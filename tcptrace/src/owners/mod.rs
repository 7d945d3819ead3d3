//! Who holds a socket: processes, their descriptors, and the unit or container they belong to.
//!
//! An owner is never stated without the evidence for it, and never guessed from who happened to run.

pub(crate) mod aside;
pub(crate) mod candidates;
pub(crate) mod cgroup;
pub(crate) mod closers;
pub(crate) mod descriptors;
pub(crate) mod frame;
pub(crate) mod inspector;
pub(crate) mod listing;
pub(crate) mod people;
pub(crate) mod perf_map;
pub(crate) mod proc_fd;
pub(crate) mod process;
pub(crate) mod since;
pub(crate) mod snapshot;
pub(crate) mod symbols;
pub(crate) mod tables;
pub(crate) mod worker;
