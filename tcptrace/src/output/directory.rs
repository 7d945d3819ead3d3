//! Finds the directory of an output file without being led astray: a symbolic link on the way is
//! followed only when root or this user made it. Creates nothing.
//!
//! Each step is taken from the descriptor of the one before, so that nothing that is renamed meanwhile
//! leads elsewhere. The kernel's own `fs.protected_symlinks` looks at sticky directories only, and may be
//! off.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, openat, readlinkat},
    io::Errno,
};

use crate::host::user;

/// As many as the kernel follows: `MAXSYMLINKS` of include/linux/namei.h.
const MAX_LINKS: u32 = 40;

/// Why the directory cannot be used.
#[derive(Debug)]
pub(crate) enum UntrustedPath {
    /// The system refused.
    System(io::Error),
    /// A symbolic link on the way was made by another user.
    ForeignLink {
        link: PathBuf,
        /// Who made it.
        uid: u32,
    },
}

impl From<Errno> for UntrustedPath {
    fn from(errno: Errno) -> Self {
        Self::System(errno.into())
    }
}

/// Opens the directory that a path's last part is in (with `O_PATH`), and tells the last part.
///
/// # Errors
/// When a part of the path is missing, is no directory, or is another user's symbolic link; and when the
/// path ends in no name.
pub(crate) fn open_parent(path: &Path) -> Result<(OwnedFd, OsString), UntrustedPath> {
    let own = user::of_files();
    open_parent_trusting(path, |uid| uid == 0 || uid == own)
}

fn open_parent_trusting(
    path: &Path,
    is_trusted: impl Fn(u32) -> bool,
) -> Result<(OwnedFd, OsString), UntrustedPath> {
    let ends_in_slash = path.as_os_str().as_bytes().ends_with(b"/");
    let name = path.file_name().filter(|_| !ends_in_slash).ok_or(Errno::ISDIR)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    Ok((walk(parent, is_trusted)?, name.to_owned()))
}

fn walk(path: &Path, is_trusted: impl Fn(u32) -> bool) -> Result<OwnedFd, UntrustedPath> {
    let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = openat(CWD, ".", step | OFlags::DIRECTORY, Mode::empty())?;
    let mut so_far = PathBuf::new();
    let mut ahead: Vec<OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        let next = openat(&here, &part, step, Mode::empty())?;
        let status = fstat(&next)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => {
                here = next;
                so_far.push(&part);
            }
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                if !is_trusted(status.st_uid) {
                    return Err(UntrustedPath::ForeignLink { link: so_far.join(&part), uid: status.st_uid });
                }
                if is_procfs(&next)? {
                    // What such a link shows as text is not where it leads to (/proc/PID/root).
                    let follow = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    here = openat(&here, &part, follow, Mode::empty())?;
                    so_far.push(&part);
                } else {
                    let target = readlinkat(&next, "", Vec::new())?;
                    ahead.extend(parts(Path::new(OsStr::from_bytes(target.as_bytes()))));
                }
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Ok(here)
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let is_wanted = |part: &Component<'_>| !matches!(part, Component::CurDir);
    path.components().rev().filter(is_wanted).map(|part| part.as_os_str().to_owned()).collect()
}

/// Whether a descriptor is of a file or directory of procfs.
pub(super) fn is_procfs(link: &OwnedFd) -> Result<bool, Errno> {
    Ok(fstatfs(link)?.f_type == PROC_SUPER_MAGIC)
}

/// Whether a name in a directory still stands for the file with this device and inode number.
pub(crate) fn names(directory: &OwnedFd, name: &OsStr, identity: (u64, u64)) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|status| (status.st_dev, status.st_ino) == identity)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn leads_to(path: &Path, directory: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let (found, name) = open_parent(path).unwrap();
        let status = fstat(&found).unwrap();
        let metadata = fs::metadata(directory).unwrap();
        name == "x.jsonl" && (status.st_dev, status.st_ino) == (metadata.dev(), metadata.ino())
    }

    #[test]
    fn own_links_are_followed_wherever_they_lead() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("a", root.join("relative")).unwrap();
        symlink(root.join("a/b"), root.join("absolute")).unwrap();
        symlink("../relative/b", root.join("a/around")).unwrap();
        assert!(leads_to(&root.join("a/b/x.jsonl"), &root.join("a/b")));
        assert!(leads_to(&root.join("./a/../a/b/./x.jsonl"), &root.join("a/b")));
        assert!(leads_to(&root.join("relative/b/x.jsonl"), &root.join("a/b")));
        assert!(leads_to(&root.join("absolute/x.jsonl"), &root.join("a/b")));
        assert!(leads_to(&root.join("a/around/x.jsonl"), &root.join("a/b")));
        assert!(leads_to(Path::new("/proc/self/cwd/x.jsonl"), Path::new(".")));
        assert!(leads_to(Path::new("x.jsonl"), Path::new(".")));
    }

    #[test]
    fn a_link_of_another_user_is_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("planted");
        symlink("/etc", &link).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let refused = open_parent_trusting(&link.join("x.jsonl"), |uid| uid != own);
        assert!(matches!(refused, Err(UntrustedPath::ForeignLink { uid, .. }) if uid == own), "{refused:?}");
        assert!(open_parent_trusting(&scratch.path().join("x.jsonl"), |uid| uid != own).is_ok());
    }

    #[test]
    fn loops_and_paths_without_a_name_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        symlink("round", scratch.path().join("round")).unwrap();
        let names_errno = |path: &Path, errno: Errno| match open_parent(path) {
            Err(UntrustedPath::System(error)) => error.raw_os_error() == Some(errno.raw_os_error()),
            _ => false,
        };
        assert!(names_errno(&scratch.path().join("round/x.jsonl"), Errno::LOOP));
        assert!(names_errno(&scratch.path().join("missing/x.jsonl"), Errno::NOENT));
        assert!(names_errno(Path::new("/tmp/"), Errno::ISDIR));
        assert!(names_errno(Path::new("/"), Errno::ISDIR));
        assert!(names_errno(Path::new(".."), Errno::ISDIR));
    }
}
