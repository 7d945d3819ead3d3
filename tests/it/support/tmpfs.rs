//! A small file system of the test's own, which the test can fill.

use std::path::{Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};

/// Unmounted when dropped.
pub(crate) struct Tmpfs {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Tmpfs {
    /// Mounts one that holds this many bytes.
    pub(crate) fn of(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let options = std::ffi::CString::new(format!("size={bytes},mode=0700")).unwrap();
        mount("tmpfs", &path, "tmpfs", MountFlags::NODEV, Some(options.as_c_str())).expect("a tmpfs (root?)");
        mount_change(&path, MountPropagationFlags::PRIVATE).expect("a mount of its own");
        Self { path, _folder: folder }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn make_read_only(&self) {
        mount_remount(&self.path, MountFlags::RDONLY | MountFlags::NODEV, "").expect("a remount");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}
