//! Reads which machine this is, which kernel runs, and which boot.

use std::{fs, path::Path};

use crate::model::{host_identity::HostIdentity, kernel_version::KernelVersion};

/// Asks the kernel; `proc_root` is /proc except in tests.
pub(crate) fn read(proc_root: &Path) -> HostIdentity {
    let uname = rustix::system::uname();
    HostIdentity {
        host: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        boot_id: fs::read_to_string(proc_root.join("sys/kernel/random/boot_id"))
            .ok()
            .map(|text| text.trim().to_owned()),
    }
}

/// The version of the running kernel; `None` when its release does not begin with two numbers.
pub(crate) fn kernel_version() -> Option<KernelVersion> {
    KernelVersion::of(&rustix::system::uname().release().to_string_lossy())
}
