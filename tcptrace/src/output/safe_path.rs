//! Reaches an output file as root ought to: never through a symbolic link that somebody planted, never by a
//! name that is exchanged between two looks. Decides nothing about what the file holds.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, fchmod, openat, readlinkat, renameat, unlinkat},
    io::Errno,
};

use super::{
    directory::{self, UntrustedPath},
    error::OpenError,
};
use crate::host::user;

/// Ends of reasons: what can be done.
pub(crate) const REPLACE: &str = "name another file, or add --force to put a new one in its place";

/// A directory that is open, and a name in it that may or may not stand for something.
#[derive(Debug)]
pub(crate) struct SafePath {
    path: PathBuf,
    /// The directory, opened with `O_PATH`.
    pub directory: OwnedFd,
    pub name: OsString,
}

impl SafePath {
    /// Finds the directory of a path.
    ///
    /// # Errors
    /// When it cannot be reached, or another user's symbolic link is on the way.
    pub(crate) fn find(path: &Path) -> Result<Self, OpenError> {
        let (directory, name) = directory::open_parent(path).map_err(|refusal| match refusal {
            UntrustedPath::System(source) => system(path, source),
            UntrustedPath::ForeignLink { link, uid } => refused(
                path,
                format!(
                    "{} is a symbolic link that another user (uid {uid}) made; name the directory that is meant",
                    link.display()
                ),
            ),
        })?;
        Ok(Self { path: path.to_owned(), directory, name })
    }

    /// Another name in the same directory.
    pub(crate) fn sibling(self, name: OsString) -> Self {
        Self { name, ..self }
    }

    /// What the system refused.
    pub(crate) fn system(&self, source: impl Into<io::Error>) -> OpenError {
        system(&self.path, source)
    }

    /// What is not done, and what can be done instead.
    pub(crate) fn refused(&self, reason: impl Into<String>) -> OpenError {
        refused(&self.path, reason)
    }

    /// What has the name, itself: a link is not followed, nothing is opened. `None` when nothing has it.
    pub(crate) fn look(&self) -> Result<Option<Metadata>, OpenError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.directory, &self.name, flags, Mode::empty()) {
            Ok(seen) => File::from(seen).metadata().map(Some).map_err(|source| self.system(source)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.system(errno)),
        }
    }

    /// Refuses what nothing is put in the place of, whatever was asked for: directories, devices, sockets, and links that
    /// stand for a file that a process has open (/dev/stdout, /dev/fd).
    pub(crate) fn refuse_unless_replaceable(&self, seen: &Metadata) -> Result<(), OpenError> {
        let kind = seen.file_type();
        if kind.is_dir() {
            return Err(self.system(Errno::ISDIR));
        }
        if kind.is_symlink() && self.is_link_to_open_file() {
            return Err(
                self.refused("it stands for a file that is open; without -o standard output is written to")
            );
        }
        if !kind.is_file() && !kind.is_symlink() && !kind.is_fifo() {
            return Err(self.refused("it is no regular file; name another file"));
        }
        Ok(())
    }

    fn is_link_to_open_file(&self) -> bool {
        let leads_to_proc = readlinkat(&self.directory, &self.name, Vec::new())
            .is_ok_and(|target| target.to_bytes().starts_with(b"/proc/"));
        leads_to_proc || directory::is_procfs(&self.directory) == Ok(true)
    }

    /// Refuses what no output may be written over, whatever it holds.
    pub(crate) fn refuse_unless_own_file(&self, seen: &Metadata) -> Result<(), OpenError> {
        let kind = seen.file_type();
        if kind.is_symlink() {
            let reason = "it is a symbolic link, which is not followed; name the file itself, or add --force to put \
                          a new file in its place";
            return Err(self.refused(reason));
        }
        if !is_own(seen) {
            return Err(self.refused(format!("it belongs to another user (uid {}); {REPLACE}", seen.uid())));
        }
        if !kind.is_file() {
            return Err(self.refused(format!("it is no regular file; {REPLACE}")));
        }
        Ok(())
    }

    /// Opens what was looked at before; refuses what was put there meanwhile.
    pub(crate) fn open_seen(&self, flags: OFlags, seen: &Metadata) -> Result<File, OpenError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file =
            openat(&self.directory, &self.name, flags, Mode::empty()).map_err(|errno| self.system(errno))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|source| self.system(source))?;
        if (metadata.dev(), metadata.ino()) != (seen.dev(), seen.ino()) {
            return Err(self.refused("it was exchanged for another file just now; try again"));
        }
        Ok(file)
    }

    /// Creates the file; fails when something has the name.
    pub(crate) fn create(&self, mode: u32) -> Result<File, Errno> {
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        let file = openat(&self.directory, &self.name, flags, mode)?;
        // The umask does not decide.
        fchmod(&file, mode)?;
        Ok(file.into())
    }

    /// Takes the name from what has it. The content is left alone.
    pub(crate) fn unlink(&self) -> Result<(), Errno> {
        unlinkat(&self.directory, &self.name, AtFlags::empty())
    }

    /// Gives the file another name, which whatever has it loses.
    pub(crate) fn rename(&self, to: &OsStr) -> Result<(), Errno> {
        renameat(&self.directory, &self.name, &self.directory, to)
    }
}

/// Whether a file belongs to this user.
pub(crate) fn is_own(seen: &Metadata) -> bool {
    seen.uid() == user::of_files()
}

/// Whether a file is written to as it is: a device, or a FIFO of this user.
pub(crate) fn is_stream(seen: &Metadata) -> bool {
    let kind = seen.file_type();
    kind.is_char_device() || kind.is_fifo() && is_own(seen)
}

fn system(path: &Path, source: impl Into<io::Error>) -> OpenError {
    let source = source.into();
    let remedy = match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => "; create its directory first",
        Some(Errno::NXIO) => "; it is a FIFO that nobody reads: start its reader first",
        Some(Errno::ISDIR) => "; name a file in it",
        Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => "; name a file in another directory",
        _ => "",
    };
    OpenError::System { path: path.to_owned(), source, remedy }
}

fn refused(path: &Path, reason: impl Into<String>) -> OpenError {
    OpenError::Refused { path: path.to_owned(), reason: reason.into() }
}
