//! What people call a container and its pod, from what the runtimes and the kubelet leave on disk. Asks no server.

pub(crate) mod host_root;
pub(crate) mod lookup;
pub(crate) mod names;
pub(crate) mod running;
mod runtimes;
