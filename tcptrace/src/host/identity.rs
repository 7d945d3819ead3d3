//! Reads the identity of this machine: host name, kernel, boot.

use std::{fs, path::Path};

use crate::model::{host_identity::HostIdentity, kernel_version::KernelVersion};

/// Reads the host name, the kernel release and the boot id.
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

/// The version of the running kernel; `None` if its release does not begin with two numbers.
pub(crate) fn kernel_version() -> Option<KernelVersion> {
    KernelVersion::of(&rustix::system::uname().release().to_string_lossy())
}
