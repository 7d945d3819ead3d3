//! Who holds a socket: processes, their descriptors, and the unit or container they belong to.
//!
//! An owner is never stated without the evidence for it, and never guessed from who happened to run.

pub(crate) mod age;
pub(crate) mod descriptors;
pub(crate) mod dump;
pub(crate) mod inspector;
pub(crate) mod proc_fd;
pub(crate) mod snapshot;
pub(crate) mod tables;
pub(crate) mod thread;
