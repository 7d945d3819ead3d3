//! Opens output files as root ought to: never through a symbolic link that somebody planted, never over
//! what this program did not write. Writes no records.

use std::{
    ffi::OsString,
    fs::{File, Metadata},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, fchmod, fcntl_getfl, fcntl_setfl, flock, openat, unlinkat},
    io::Errno,
};
use thiserror::Error;

use super::directory::{self, Refusal};
use crate::forms::format::Format;

/// What is to become of a file that is already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// One that an earlier session wrote is emptied; any other is refused.
    #[default]
    Own,
    /// Records are added to one that an earlier session wrote; any other is refused.
    Append,
    /// Whatever has the name loses it to a new file; its content is left alone.
    Replace,
    /// An empty one of this user's is taken; any other is refused.
    Empty,
}

/// Permissions of a file that is created, unless others are asked for: for its owner alone.
const DEFAULT_MODE: u32 = 0o600;

/// An output file that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// To write to, at its end.
    pub file: File,
    /// Where it is; `None` for what is no regular file.
    pub place: Option<Place>,
    /// How the records follow what is there.
    pub joint: Joint,
}

/// How the records follow what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joint {
    /// Nothing is there.
    Beginning,
    /// An earlier session's records are there, and have to make room. Opening does not do that: the session may yet be
    /// refused for another reason.
    Instead,
    /// Whole lines are there.
    AfterLines,
    /// The last line there has no end.
    AfterCutLine,
}

/// The place of a regular file, as a descriptor of its directory and its name there.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory, opened with `O_PATH`.
    pub directory: OwnedFd,
    /// The file's name.
    pub name: OsString,
    /// Device and inode number of the file.
    pub identity: (u64, u64),
}

impl Place {
    /// Whether the name still stands for the file.
    pub(crate) fn is_current(&self) -> bool {
        directory::names(&self.directory, &self.name, self.identity)
    }
}

/// The output file cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system refused.
    #[error("cannot open the output file {path}: {source}{remedy}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What can be done about it; empty when nothing is known.
        remedy: &'static str,
    },
    /// It is there, and writing to it would not be safe, or not what is wanted.
    #[error("will not write to {path}: {reason}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what can be done.
        reason: String,
    },
}

/// Ends of reasons: what can be done.
const REPLACE: &str = "name another file, or add --force to put a new one in its place";

/// Opens a file for records in this form.
///
/// # Errors
/// When the system refuses, or `existing` does not allow what is there.
pub(crate) fn open(
    path: &Path,
    format: Format,
    existing: Existing,
    mode: Option<u32>,
) -> Result<Opened, OpenError> {
    Opening { path, format, existing, mode }.open()
}

struct Opening<'a> {
    path: &'a Path,
    format: Format,
    existing: Existing,
    mode: Option<u32>,
}

impl Opening<'_> {
    fn system(&self, source: impl Into<io::Error>) -> OpenError {
        let source = source.into();
        let remedy = match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => "; create its directory first",
            Some(Errno::NXIO) => "; it is a FIFO that nobody reads: start its reader first",
            Some(Errno::ISDIR) => "; name a file in it",
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => "; name a file in another directory",
            _ => "",
        };
        OpenError::System { path: self.path.to_owned(), source, remedy }
    }

    fn refused(&self, reason: impl Into<String>) -> OpenError {
        OpenError::Refused { path: self.path.to_owned(), reason: reason.into() }
    }

    fn open(&self) -> Result<Opened, OpenError> {
        let (directory, name) = directory::open_parent(self.path).map_err(|refusal| match refusal {
            Refusal::System(source) => self.system(source),
            Refusal::ForeignLink { link, uid } => self.refused(format!(
                "{} is a symbolic link that another user (uid {uid}) made; name the directory that is meant",
                link.display()
            )),
        })?;
        match self.create(&directory, &name) {
            Ok(file) => self.opened(file, directory, name),
            Err(Errno::EXIST) => self.open_existing(directory, name),
            Err(errno) => Err(self.system(errno)),
        }
    }

    fn open_existing(&self, directory: OwnedFd, name: OsString) -> Result<Opened, OpenError> {
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let seen = openat(&directory, &name, look, Mode::empty()).map_err(|errno| self.system(errno))?;
        let seen = File::from(seen).metadata().map_err(|source| self.system(source))?;
        let kind = seen.file_type();
        let is_own = seen.uid() == rustix::process::geteuid().as_raw();
        if kind.is_char_device() || kind.is_fifo() && is_own {
            return self.open_stream(&directory, &name, &seen);
        }
        if kind.is_dir() {
            return Err(self.system(Errno::ISDIR));
        }
        if !kind.is_file() && !kind.is_symlink() && !kind.is_fifo() {
            return Err(self.refused("it is no regular file; name another file"));
        }
        if self.existing == Existing::Replace {
            unlinkat(&directory, &name, AtFlags::empty()).map_err(|errno| self.system(errno))?;
            let file = self.create(&directory, &name).map_err(|errno| self.system(errno))?;
            return self.opened(file, directory, name);
        }
        if kind.is_symlink() {
            let reason = "it is a symbolic link, which is not followed; name the file itself, or add --force to put \
                          a new file in its place";
            return Err(self.refused(reason));
        }
        if !is_own {
            return Err(self.refused(format!("it belongs to another user (uid {}); {REPLACE}", seen.uid())));
        }
        if !kind.is_file() {
            return Err(self.refused(format!("it is no regular file; {REPLACE}")));
        }
        if seen.nlink() > 1 {
            return Err(self.refused(format!("it has other names (hard links); {REPLACE}")));
        }
        let flags = OFlags::RDWR | OFlags::APPEND;
        let file = self.reopen(&directory, &name, flags, &seen)?;
        if let Some(mode) = self.mode {
            fchmod(&file, Mode::from_raw_mode(mode)).map_err(|errno| self.system(errno))?;
        }
        let joint = self.judge_content(&file)?;
        Ok(Opened { joint, ..self.opened(file, directory, name)? })
    }

    /// Opens what is no file: a terminal, a device, a FIFO that has a reader.
    fn open_stream(
        &self,
        directory: &OwnedFd,
        name: &OsString,
        seen: &Metadata,
    ) -> Result<Opened, OpenError> {
        let file = self.reopen(directory, name, OFlags::WRONLY | OFlags::NOCTTY, seen)?;
        // Only opening must not wait.
        fcntl_getfl(&file)
            .and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK))
            .map_err(|errno| self.system(errno))?;
        Ok(Opened { file, place: None, joint: Joint::Beginning })
    }

    /// Opens what was looked at before; refuses what was put there meanwhile.
    fn reopen(
        &self,
        directory: &OwnedFd,
        name: &OsString,
        flags: OFlags,
        seen: &Metadata,
    ) -> Result<File, OpenError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty()).map_err(|errno| self.system(errno))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|source| self.system(source))?;
        if (metadata.dev(), metadata.ino()) != (seen.dev(), seen.ino()) {
            return Err(self.refused("it was exchanged for another file just now; try again"));
        }
        Ok(file)
    }

    fn create(&self, directory: &OwnedFd, name: &OsString) -> Result<File, Errno> {
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(self.mode.unwrap_or(DEFAULT_MODE));
        let file = openat(directory, name, flags, mode)?;
        // The umask does not decide.
        fchmod(&file, mode)?;
        Ok(file.into())
    }

    /// Decides what may become of what the file holds.
    fn judge_content(&self, file: &File) -> Result<Joint, OpenError> {
        let length = file.metadata().map_err(|source| self.system(source))?.len();
        let mut first = [0; 4096];
        let count = file.read_at(&mut first, 0).map_err(|source| self.system(source))?;
        let written = Format::by_content(first.get(..count).unwrap_or_default());
        match (self.existing, written) {
            _ if length == 0 => Ok(Joint::Beginning),
            (Existing::Empty, _) => Err(self.refused("it is in the way, and not empty")),
            (_, None) => Err(self.refused(format!("it holds what tcptrace did not write; {REPLACE}"))),
            (Existing::Append, Some(written)) if written == self.format => {
                let mut last = [0];
                file.read_exact_at(&mut last, length - 1).map_err(|source| self.system(source))?;
                Ok(if last == *b"\n" { Joint::AfterLines } else { Joint::AfterCutLine })
            }
            (Existing::Append, Some(_)) => {
                Err(self.refused("its records have another form; name another file for those to come"))
            }
            (Existing::Own | Existing::Replace, Some(_)) => Ok(Joint::Instead),
        }
    }

    /// Takes a regular file for this session alone.
    fn opened(&self, file: File, directory: OwnedFd, name: OsString) -> Result<Opened, OpenError> {
        // A file system without locks has to do without.
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(self.refused(
                "it is being written to already, by another session or another -o; name another file",
            ));
        }
        let metadata = file.metadata().map_err(|source| self.system(source))?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Opened { file, place: Some(Place { directory, name, identity }), joint: Joint::Beginning })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    const EARLIER: &str = "{\"type\":\"header\",\"schema\":1}\n";

    fn try_open(path: &Path, existing: Existing) -> Result<Joint, String> {
        open(path, Format::Jsonl, existing, None)
            .map(|opened| opened.joint)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone_unless_another_mode_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        for (name, mode, expected) in [("a", None, 0o600), ("b", Some(0o664), 0o664)] {
            let path = directory.path().join(name);
            open(&path, Format::Jsonl, Existing::Own, mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected);
        }
    }

    #[test]
    fn a_planted_link_is_not_followed_and_force_takes_only_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, EARLIER).unwrap();
        let (soft, hard) = (directory.path().join("soft.jsonl"), directory.path().join("hard.jsonl"));
        symlink(&victim, &soft).unwrap();
        fs::hard_link(&victim, &hard).unwrap();
        for existing in [Existing::Own, Existing::Append, Existing::Empty] {
            assert!(try_open(&soft, existing).unwrap_err().contains("symbolic link"));
            assert!(try_open(&hard, existing).unwrap_err().contains("hard links"));
        }
        for link in [soft, hard] {
            assert_eq!(try_open(&link, Existing::Replace), Ok(Joint::Beginning));
            let metadata = fs::symlink_metadata(&link).unwrap();
            assert!(metadata.is_file() && metadata.nlink() == 1 && metadata.len() == 0);
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), EARLIER);
    }

    #[test]
    fn only_what_tcptrace_wrote_makes_room_without_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.jsonl");
        for (content, existing, joint) in [
            ("", Existing::Own, Some(Joint::Beginning)),
            ("", Existing::Append, Some(Joint::Beginning)),
            ("", Existing::Empty, Some(Joint::Beginning)),
            (EARLIER, Existing::Own, Some(Joint::Instead)),
            (EARLIER, Existing::Append, Some(Joint::AfterLines)),
            (EARLIER.trim_end(), Existing::Append, Some(Joint::AfterCutLine)),
            (EARLIER, Existing::Empty, None),
            ("root:x:0:0:root:/root:/bin/sh\n", Existing::Own, None),
            ("root:x:0:0:root:/root:/bin/sh\n", Existing::Append, None),
            ("tcptrace 0.1.0 on a host\n", Existing::Append, None),
        ] {
            fs::write(&path, content).unwrap();
            let opened = try_open(&path, existing);
            assert_eq!(opened.as_ref().ok(), joint.as_ref(), "{content:?} {existing:?}: {opened:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content, "opening changes nothing");
        }
    }

    #[test]
    fn a_file_that_another_session_writes_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.jsonl");
        let first = open(&path, Format::Jsonl, Existing::Own, None).unwrap();
        assert!(try_open(&path, Existing::Own).unwrap_err().contains("being written to already"));
        drop(first);
        assert_eq!(try_open(&path, Existing::Own), Ok(Joint::Beginning));
    }

    #[test]
    fn what_is_no_file_is_refused_or_written_to_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let error = |path: &Path| try_open(path, Existing::Replace).unwrap_err();
        assert!(error(Path::new("/nonexistent-directory/x.jsonl")).contains("create its directory first"));
        assert!(error(directory.path()).contains("name a file in it"));
        let fifo = directory.path().join("fifo.jsonl");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(error(&fifo).contains("start its reader"));
        let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        for path in [&fifo, Path::new("/dev/null")] {
            assert!(open(path, Format::Jsonl, Existing::Replace, None).unwrap().place.is_none());
        }
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(error(&socket).contains("no regular file"));
    }
}
