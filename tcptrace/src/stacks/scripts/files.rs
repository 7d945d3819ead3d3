//! Opens files of a process where the process sees them. Whose they are, and what is in them, is up to strangers.

use std::{os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};

use crate::process::reader::DIRECTORY;

/// Opens a file as the process sees it. Only what lies below its root counts, or below the folder that it is in.
pub(in crate::stacks) fn open(process: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (start, within) =
        if path.is_absolute() { ("root", ResolveFlags::IN_ROOT) } else { ("cwd", ResolveFlags::BENEATH) };
    let start = openat(process, start, DIRECTORY, Mode::empty())?;
    openat2(&start, path, flags | OFlags::CLOEXEC, Mode::empty(), within | ResolveFlags::NO_MAGICLINKS)
}
