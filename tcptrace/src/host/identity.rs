//! Which machine, which kernel, which boot.

use std::{fs, path::Path};

/// What the header of a session says about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity {
    /// The host's name.
    pub host: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// The kernel's random name for this boot; `None` where /proc does not tell.
    pub boot_id: Option<String>,
}

impl HostIdentity {
    /// Asks the kernel; `proc_root` is /proc except in tests.
    pub fn read(proc_root: &Path) -> Self {
        let uname = rustix::system::uname();
        Self {
            host: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            boot_id: fs::read_to_string(proc_root.join("sys/kernel/random/boot_id"))
                .ok()
                .map(|text| text.trim().to_owned()),
        }
    }
}
