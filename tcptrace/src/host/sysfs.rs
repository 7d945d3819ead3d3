//! Whether sysfs is there, as it is not in a bare root. Only looks.

use std::path::Path;

/// What helps where it is not.
pub(crate) const MOUNT: &str = "mount -t sysfs sysfs /sys";

/// Whether nothing is mounted where the kernel's types and tracefs are: every sysfs has this folder (`ksysfs_init` of
/// kernel/ksysfs.c).
pub(crate) fn is_missing() -> bool {
    !Path::new("/sys/kernel").exists()
}
