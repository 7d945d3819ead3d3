//! Reads files below the root of the host, which is that of pid 1: where runtimes write, also for a tracer in a
//! container of its own.
//!
//! Links resolve as they do for pid 1 and never lead out of its root. Users may have made some of the files, so nothing
//! but a regular file is read, and every size and count is bounded.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, fstat, openat, openat2},
    io::Errno,
};

/// How directories are opened.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Entries read of a directory: far more than a node has containers.
const MAX_ENTRIES: usize = 65_536;

/// A directory below which is read.
pub(crate) struct HostRoot {
    root: OwnedFd,
    within: ResolveFlags,
}

impl HostRoot {
    /// The root of pid 1, else `root`: pid 1 may be out of reach, as without the right to trace it.
    pub(crate) fn open(proc_root: &Path, root: &Path) -> Result<Self, Errno> {
        let root = openat(CWD, proc_root.join("1/root"), DIRECTORY, Mode::empty())
            .or_else(|_| openat(CWD, root, DIRECTORY, Mode::empty()))?;
        Ok(Self { root, within: ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS })
    }

    /// The directory of a user. What they keep in there is not followed: neither links nor mounts.
    pub(crate) fn of_user(&self, home: &str, uid: u32) -> Option<Self> {
        let root = openat2(&self.root, relative(home), DIRECTORY, Mode::empty(), self.within).ok()?;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        (fstat(&root).ok()?.st_uid == uid).then_some(Self { root, within })
    }

    /// The content of a regular file of at most so many bytes: half of a file would be taken for another.
    pub(crate) fn read(&self, path: &str, most: u64) -> Option<Vec<u8>> {
        // A pipe must not block.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat2(&self.root, relative(path), flags, Mode::empty(), self.within).ok()?;
        if FileType::from_raw_mode(fstat(&file).ok()?.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut bytes = Vec::new();
        let read = File::from(file).take(most + 1).read_to_end(&mut bytes).ok()?;
        (read as u64 <= most).then_some(bytes)
    }

    /// Whether there is a directory of this name.
    pub(crate) fn has_directory(&self, path: &str) -> bool {
        self.directory(path).is_some()
    }

    /// What `pick` makes of the first entry of a directory that it makes anything of.
    pub(crate) fn find_entry<T>(&self, path: &str, mut pick: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let directory = self.directory(path)?;
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        for _ in 0..MAX_ENTRIES {
            let entry = entries.next()?.ok()?;
            if let Some(found) = entry.file_name().to_str().ok().and_then(&mut pick) {
                return Some(found);
            }
        }
        None
    }

    fn directory(&self, path: &str) -> Option<OwnedFd> {
        openat2(&self.root, relative(path), DIRECTORY, Mode::empty(), self.within).ok()
    }
}

/// BENEATH refuses an absolute path.
fn relative(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    }
}
