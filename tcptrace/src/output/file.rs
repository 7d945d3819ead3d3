//! Opens output files for records: never over what this program did not write. Writes no records.

use std::{
    ffi::OsString,
    fs::{File, Metadata},
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::Path,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, fchmod, fcntl_getfl, fcntl_setfl, flock},
    io::Errno,
};

use super::{
    directory,
    error::OpenError,
    safe_path::{REPLACE, SafePath, is_stream},
};
use crate::forms::{detection, form::Format};

/// What is to become of a file that is already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IfExists {
    /// One that an earlier session wrote is emptied; any other is refused.
    #[default]
    Empty,
    /// Records are added to one that an earlier session wrote; any other is refused.
    Append,
    /// Whatever has the name loses it to a new file; its content is left alone.
    Replace,
    /// An empty one of this user's is taken; any other is refused.
    Refuse,
}

/// Permissions of a file that is created, unless others are asked for: for its owner alone.
const DEFAULT_MODE: u32 = 0o600;

/// An output file that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// To write to, at its end.
    pub file: File,
    /// Where it is; `None` for what is no regular file.
    pub entry: Option<DirectoryEntry>,
    /// How the records follow what is there.
    pub append: Append,
}

/// How the records follow what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Append {
    /// Nothing is there.
    ToNothing,
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
pub(crate) struct DirectoryEntry {
    /// The directory, opened with `O_PATH`.
    pub directory: OwnedFd,
    /// The file's name.
    pub name: OsString,
    /// Device and inode number of the file.
    pub identity: (u64, u64),
}

impl DirectoryEntry {
    /// Whether the name still stands for the file.
    pub(crate) fn is_current(&self) -> bool {
        directory::names(&self.directory, &self.name, self.identity)
    }
}

/// Opens a file for records in this form.
///
/// # Errors
/// When the system refuses, or `if_exists` does not allow what is there.
pub(crate) fn open(
    path: &Path,
    format: &Format,
    if_exists: IfExists,
    mode: Option<u32>,
) -> Result<Opened, OpenError> {
    let path = SafePath::find(path)?;
    match path.create(mode.unwrap_or(DEFAULT_MODE)) {
        Ok(file) => lock(file, path),
        Err(Errno::EXIST) => open_existing(path, format, if_exists, mode),
        Err(errno) => Err(path.system(errno)),
    }
}

fn open_existing(
    path: SafePath,
    format: &Format,
    if_exists: IfExists,
    mode: Option<u32>,
) -> Result<Opened, OpenError> {
    let seen = path.look()?.ok_or_else(|| path.system(Errno::NOENT))?;
    if is_stream(&seen) {
        return open_stream(&path, &seen);
    }
    path.refuse_unless_replaceable(&seen)?;
    if if_exists == IfExists::Replace {
        path.unlink().map_err(|errno| path.system(errno))?;
        let file = path.create(mode.unwrap_or(DEFAULT_MODE)).map_err(|errno| path.system(errno))?;
        return lock(file, path);
    }
    path.refuse_unless_own_file(&seen)?;
    if seen.nlink() > 1 {
        return Err(path.refused(format!("it has other names (hard links); {REPLACE}")));
    }
    let file = path.open_seen(OFlags::RDWR | OFlags::APPEND, &seen)?;
    if let Some(mode) = mode {
        fchmod(&file, Mode::from_raw_mode(mode)).map_err(|errno| path.system(errno))?;
    }
    let append = judge_content(&path, &file, format, if_exists)?;
    Ok(Opened { append, ..lock(file, path)? })
}

/// Opens what is no file: a terminal, a device, a FIFO that has a reader.
fn open_stream(path: &SafePath, seen: &Metadata) -> Result<Opened, OpenError> {
    let file = path.open_seen(OFlags::WRONLY, seen)?;
    // Only opening must not wait.
    fcntl_getfl(&file)
        .and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK))
        .map_err(|errno| path.system(errno))?;
    Ok(Opened { file, entry: None, append: Append::ToNothing })
}

/// Decides what may become of what the file holds.
fn judge_content(
    path: &SafePath,
    file: &File,
    format: &Format,
    if_exists: IfExists,
) -> Result<Append, OpenError> {
    let length = file.metadata().map_err(|source| path.system(source))?.len();
    let mut first = [0; 4096];
    let count = file.read_at(&mut first, 0).map_err(|source| path.system(source))?;
    let written = detection::by_content(first.get(..count).unwrap_or_default());
    match (if_exists, written) {
        _ if length == 0 => Ok(Append::ToNothing),
        (IfExists::Refuse, _) => Err(path.refused("it is in the way, and not empty")),
        (_, None) => Err(path.refused(format!("it holds what tcptrace did not write; {REPLACE}"))),
        (IfExists::Append, Some(written)) if written == format => {
            let mut last = [0];
            file.read_exact_at(&mut last, length - 1).map_err(|source| path.system(source))?;
            Ok(if last == *b"\n" { Append::AfterLines } else { Append::AfterCutLine })
        }
        (IfExists::Append, Some(_)) => {
            Err(path.refused("its records have another form; name another file for those to come"))
        }
        (IfExists::Empty | IfExists::Replace, Some(_)) => Ok(Append::Instead),
    }
}

/// Takes a regular file for this session alone.
fn lock(file: File, path: SafePath) -> Result<Opened, OpenError> {
    // A file system without locks has to do without.
    if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return Err(path
            .refused("it is being written to already, by another session or another -o; name another file"));
    }
    let metadata = file.metadata().map_err(|source| path.system(source))?;
    let identity = (metadata.dev(), metadata.ino());
    let SafePath { directory, name, .. } = path;
    let entry = Some(DirectoryEntry { directory, name, identity });
    Ok(Opened { file, entry, append: Append::ToNothing })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;
    use crate::forms::jsonl::form::FORMAT;

    const EARLIER: &str = "{\"type\":\"header\",\"schema\":1}\n";

    fn try_open(path: &Path, if_exists: IfExists) -> Result<Append, String> {
        open(path, &FORMAT, if_exists, None).map(|opened| opened.append).map_err(|error| error.to_string())
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone_unless_another_mode_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        for (name, mode, expected) in [("a", None, 0o600), ("b", Some(0o664), 0o664)] {
            let path = directory.path().join(name);
            open(&path, &FORMAT, IfExists::Empty, mode).unwrap();
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
        for if_exists in [IfExists::Empty, IfExists::Append, IfExists::Refuse] {
            assert!(try_open(&soft, if_exists).unwrap_err().contains("symbolic link"));
            assert!(try_open(&hard, if_exists).unwrap_err().contains("hard links"));
        }
        for link in [soft, hard] {
            assert_eq!(try_open(&link, IfExists::Replace), Ok(Append::ToNothing));
            let metadata = fs::symlink_metadata(&link).unwrap();
            assert!(metadata.is_file() && metadata.nlink() == 1 && metadata.len() == 0);
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), EARLIER);
    }

    #[test]
    fn only_what_tcptrace_wrote_makes_room_without_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.jsonl");
        for (content, if_exists, append) in [
            ("", IfExists::Empty, Some(Append::ToNothing)),
            ("", IfExists::Append, Some(Append::ToNothing)),
            ("", IfExists::Refuse, Some(Append::ToNothing)),
            (EARLIER, IfExists::Empty, Some(Append::Instead)),
            (EARLIER, IfExists::Append, Some(Append::AfterLines)),
            (EARLIER.trim_end(), IfExists::Append, Some(Append::AfterCutLine)),
            (EARLIER, IfExists::Refuse, None),
            ("root:x:0:0:root:/root:/bin/sh\n", IfExists::Empty, None),
            ("root:x:0:0:root:/root:/bin/sh\n", IfExists::Append, None),
            ("tcptrace 0.1.0 on a host\n", IfExists::Append, None),
        ] {
            fs::write(&path, content).unwrap();
            let opened = try_open(&path, if_exists);
            assert_eq!(opened.as_ref().ok(), append.as_ref(), "{content:?} {if_exists:?}: {opened:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content, "opening changes nothing");
        }
    }

    #[test]
    fn a_file_that_another_session_writes_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.jsonl");
        let first = open(&path, &FORMAT, IfExists::Empty, None).unwrap();
        assert!(try_open(&path, IfExists::Empty).unwrap_err().contains("being written to already"));
        drop(first);
        assert_eq!(try_open(&path, IfExists::Empty), Ok(Append::ToNothing));
    }

    #[test]
    fn what_is_no_file_is_refused_or_written_to_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let error = |path: &Path| try_open(path, IfExists::Replace).unwrap_err();
        assert!(error(Path::new("/nonexistent-directory/x.jsonl")).contains("create its directory first"));
        assert!(error(directory.path()).contains("name a file in it"));
        let fifo = directory.path().join("fifo.jsonl");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(error(&fifo).contains("start its reader"));
        let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        for path in [&fifo, Path::new("/dev/null")] {
            assert!(open(path, &FORMAT, IfExists::Replace, None).unwrap().entry.is_none());
        }
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(error(&socket).contains("no regular file"));
    }
}
