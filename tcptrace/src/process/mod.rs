//! Who a process is: its /proc entry, its unit, its container. Never guesses an identity.

mod aside;
mod busy;
pub(crate) mod cache;
pub(crate) mod calls;
pub(crate) mod cgroup;
pub(crate) mod container;
pub(crate) mod descriptor;
pub(crate) mod doing;
mod frozen;
pub(crate) mod reader;
pub(crate) mod task_files;
