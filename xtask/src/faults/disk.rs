//! Disks of a row's own: one in memory that is small, and one in a file that can fail and be frozen.

use super::ground::{Ground, output_of};
use super::row::NotTried;
use crate::privilege::has_program;
use anyhow::{Context, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory. Dropping it unmounts it.
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one that holds so many bytes.
    pub(crate) fn of(ground: &Ground, bytes: usize) -> Result<Self> {
        let path = ground.folder()?;
        let options = CString::new(format!("size={bytes},mode=0700"))?;
        mount("tmpfs", &path, "tmpfs", MountFlags::NODEV, Some(options.as_c_str()))
            .context("cannot mount a tmpfs")?;
        mount_change(&path, MountPropagationFlags::PRIVATE).context("cannot make a mount private")?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        leave(&self.path);
    }
}

/// A file system on a loop device. Dropping it unmounts it.
pub(crate) struct Ext4 {
    path: PathBuf,
    /// `loop0`
    device: String,
}

impl Ext4 {
    /// Makes and mounts one of 64 MiB.
    pub(crate) fn new(ground: &Ground) -> Result<Self> {
        for program in ["mkfs.ext4", "fsfreeze"] {
            if !has_program(program) {
                return Err(NotTried(format!("there is no {program} here")).into());
            }
        }
        let (path, image) = (ground.folder()?, ground.folder()?.join("image"));
        File::create(&image)?.set_len(64 << 20)?;
        output_of(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop,errors=remount-ro"]).arg(&image).arg(&path);
        output_of(&mut mount).map_err(|error| NotTried(format!("no loop device: {error:#}")))?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let place = path.display().to_string();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&place));
        let device = line.and_then(|line| line.strip_prefix("/dev/")?.split(' ').next());
        let device = device.context("a mount that is not listed")?.to_owned();
        Ok(Self { path, device })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Has the file system find an error in itself, after which it is read-only.
    pub(crate) fn fail(&self) -> Result<()> {
        let file = format!("/sys/fs/ext4/{}/trigger_fs_error", self.device);
        fs::write(&file, "1").with_context(|| format!("cannot write {file}"))
    }

    /// Has every write to it wait until the answer is dropped.
    pub(crate) fn freeze(&self) -> Result<Frozen> {
        output_of(Command::new("fsfreeze").arg("--freeze").arg(&self.path))?;
        Ok(Frozen(self.path.clone()))
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        leave(&self.path);
    }
}

/// A frozen file system. Dropping this thaws it.
pub(crate) struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = output_of(Command::new("fsfreeze").arg("--unfreeze").arg(&self.0)) {
            eprintln!("{error:#}");
        }
    }
}

fn leave(path: &Path) {
    if let Err(error) = unmount(path, UnmountFlags::DETACH) {
        eprintln!("cannot unmount {}: {error}", path.display());
    }
}
