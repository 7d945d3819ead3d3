//! A mount namespace of the worker's own, and its program in there.
//!
//! Nothing of it can be seen outside, and it goes with the worker.

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;
use std::path::Path;

pub(super) fn mount_over(folder: &Path) -> Result<()> {
    // SAFETY: only the table of descriptors would be shared with other threads, and it stays.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .context("cannot make a mount namespace (this needs root)")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount over {}", folder.display()))
}

pub(super) fn copy_program(to: &Path) -> Result<()> {
    std::fs::copy("/proc/self/exe", to).map(drop).with_context(|| format!("cannot make {}", to.display()))
}
