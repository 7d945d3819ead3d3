//! The host that a command works on: where its files are, and its clocks. Made once in `main` and handed down,
//! so that tests plant a host of their own. Reads nothing itself.

use std::path::PathBuf;

use super::{clock::Clocks, own_netns};

/// Where the kernel describes its own types.
pub(crate) const KERNELS_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Where the host is looked at, and by which clocks.
#[derive(Clone, Debug)]
pub struct World {
    /// The procfs mount.
    pub(crate) proc: PathBuf,
    /// Where `ip netns` keeps namespaces by name.
    pub(crate) run_netns: PathBuf,
    /// The kernel's description of its types.
    pub(crate) btf: PathBuf,
    /// Below which the files with settings lie, and those that name containers where pid 1 cannot be looked into.
    pub(crate) root: PathBuf,
    pub(crate) clocks: Clocks,
    /// The inode number of this process's network namespace, where /proc cannot tell it.
    pub(crate) own_netns: Option<u32>,
}

impl World {
    /// The host that this process runs on.
    #[must_use]
    pub fn of_this_host() -> Self {
        let proc = PathBuf::from("/proc");
        let clocks = Clocks::of_this_host(&proc);
        let own_netns = own_netns::without_proc(&proc);
        Self {
            proc,
            run_netns: PathBuf::from("/run/netns"),
            btf: PathBuf::from(KERNELS_BTF),
            root: PathBuf::from("/"),
            clocks,
            own_netns,
        }
    }

    /// This host, with a file that describes the kernel's types where the kernel itself does not.
    pub(crate) fn with_btf(&self, file: PathBuf) -> Self {
        Self { btf: file, ..self.clone() }
    }

    /// A host whose files are planted below `root`.
    #[cfg(test)]
    pub(crate) fn planted(root: &std::path::Path, clocks: Clocks) -> Self {
        Self {
            proc: root.join("proc"),
            run_netns: root.join("netns"),
            btf: PathBuf::from(KERNELS_BTF),
            root: root.to_owned(),
            clocks,
            own_netns: None,
        }
    }
}
