//! Where this host is looked at: parameters, so that tests plant a host of their own.

use std::path::PathBuf;

/// Where to look.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// /proc, except in tests.
    pub proc_root: PathBuf,
    /// Where namespaces are kept by name: /run/netns.
    pub bind_mounts: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc_root: PathBuf::from("/proc"), bind_mounts: PathBuf::from("/run/netns") }
    }
}
