//! Who holds a socket: processes, their descriptors, and the unit or container they belong to.
//!
//! It states what was found; it draws no conclusion from it, and it never prints.

pub mod cgroup;
pub mod proc_fd;
pub mod process;
