//! Who a process is: what /proc tells of it, its unit and its container. Names nobody without having read them.

pub(crate) mod cache;
pub(crate) mod cgroup;
pub(crate) mod reader;
