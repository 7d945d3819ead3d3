//! Where a report goes: standard output, or a file that is replaced as a whole, so that a reader never meets half of it.
//! Root writes here: never by a way that another user laid, and never over what is no report unless it is asked for.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat},
    io::Errno,
};

use super::directory::{Refusal, open_parent};

/// What every report says of itself at its beginning, whatever its form.
pub(crate) const MARK: &str = "tcptrace-report";

/// So far into a file the mark is looked for.
const MARK_WITHIN: u64 = 512;

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Standard output.
    Stdout,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Whatever has the name now may lose it.
        force: bool,
    },
}

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Whoever read standard output has stopped: nothing is wrong, and nothing is left to do.
    #[error("the reader of standard output has gone")]
    ReaderGone,
    /// The file cannot be made.
    #[error("cannot write to {path}: {source}{remedy}", path = path.display())]
    Open {
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
    /// The output is incomplete.
    #[error("cannot write to {destination}: {source}; the output is incomplete")]
    Failed {
        /// What was written to.
        destination: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Destination {
    /// Finds out whether a report could be written there, before much work is done for it.
    ///
    /// # Errors
    /// As for [`Destination::write`].
    pub(crate) fn check(&self) -> Result<(), OutputError> {
        match self {
            Self::Stdout => Ok(()),
            Self::File { path, force } => Target::open(path, *force).map(drop),
        }
    }

    /// Writes a report by calling `write`; a file that was there is replaced once all of it is written.
    ///
    /// # Errors
    /// When a file there is not to be replaced, or the report cannot be written.
    pub(crate) fn write(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputError> {
        let Self::File { path, force } = self else {
            let mut out = BufWriter::new(io::stdout().lock());
            let written = write(&mut out).and_then(|()| out.flush());
            return written.map_err(|source| match source.kind() {
                io::ErrorKind::BrokenPipe => OutputError::ReaderGone,
                _ => OutputError::Failed { destination: "standard output".to_owned(), source },
            });
        };
        let mut target = Target::open(path, *force)?;
        let written = write(target.out()).and_then(|()| target.finish());
        written.map_err(|source| OutputError::Failed { destination: path.display().to_string(), source })
    }
}

/// What is written to.
enum Target {
    /// A device, as it is.
    Device(BufWriter<File>),
    /// A new file beside the one that it is to replace.
    New(Replacement),
}

impl Target {
    fn open(path: &Path, force: bool) -> Result<Self, OutputError> {
        let system = |errno: Errno| OutputError::Open {
            path: path.to_owned(),
            source: errno.into(),
            remedy: if errno == Errno::NOENT { "; create its directory first" } else { "" },
        };
        let refused = |reason: String| OutputError::Refused { path: path.to_owned(), reason };
        let (directory, name) = open_parent(path).map_err(|refusal| match refusal {
            Refusal::System(source) => {
                system(Errno::from_io_error(&source).unwrap_or(Errno::IO))
            }
            Refusal::ForeignLink { link, uid } => refused(format!(
                "the symbolic link {} on the way to it belongs to another user (uid {uid}); name the directory itself",
                link.display()
            )),
        })?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        match openat(&directory, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {}
            _ if force => {}
            Err(Errno::LOOP) => {
                return Err(refused(format!("it is a symbolic link, which is not followed; {REPLACE}")));
            }
            Err(errno) => return Err(system(errno)),
            Ok(there) => {
                let there = File::from(there);
                if is_device(&there) {
                    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
                    let device = openat(&directory, &name, flags, Mode::empty()).map_err(system)?;
                    return Ok(Self::Device(BufWriter::new(device.into())));
                }
                judge(&there).map_err(refused)?;
            }
        }
        Replacement::begin(directory, name).map(Self::New).map_err(system)
    }

    fn out(&mut self) -> &mut dyn Write {
        match self {
            Self::Device(out) | Self::New(Replacement { out, .. }) => out,
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Device(mut out) => out.flush(),
            Self::New(replacement) => replacement.finish(),
        }
    }
}

/// End of reasons: what can be done.
const REPLACE: &str = "name another file, or add --force to put a new one in its place";

fn is_device(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device())
}

/// Whether what is there may be replaced; else why not.
fn judge(there: &File) -> Result<(), String> {
    let metadata = there.metadata().map_err(|error| format!("{error}; {REPLACE}"))?;
    if metadata.is_dir() {
        return Err("it is a directory; name a file in it".to_owned());
    }
    if !metadata.is_file() {
        return Err(format!("it is no regular file; {REPLACE}"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("it belongs to another user (uid {}); {REPLACE}", metadata.uid()));
    }
    let mut first = Vec::new();
    let read = there.take(MARK_WITHIN).read_to_end(&mut first);
    let is_report = first.windows(MARK.len()).any(|part| part == MARK.as_bytes());
    match read {
        Ok(_) if first.is_empty() || is_report => Ok(()),
        _ => Err(format!("it holds what is no report of tcptrace; {REPLACE}")),
    }
}

/// A new file, readable by its owner alone, that takes the place of another once it is whole.
struct Replacement {
    out: BufWriter<File>,
    directory: OwnedFd,
    name: OsString,
    /// Its own name until then.
    beside: OsString,
}

impl Replacement {
    fn begin(directory: OwnedFd, name: OsString) -> Result<Self, Errno> {
        let mut beside = OsString::from(".");
        beside.push(&name);
        beside.push(format!(".{}", std::process::id()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let create = || openat(&directory, &beside, flags, mode);
        let file = create().or_else(|errno| {
            if errno != Errno::EXIST {
                return Err(errno);
            }
            // A process with the same number was killed before it came to its end.
            unlinkat(&directory, &beside, AtFlags::empty())?;
            create()
        })?;
        Ok(Self { out: BufWriter::new(file.into()), directory, name, beside })
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        renameat(&self.directory, &self.beside, &self.directory, &self.name)?;
        // Nothing is left to remove.
        self.beside.clear();
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.beside.is_empty() {
            let _ = unlinkat(&self.directory, &self.beside, AtFlags::empty());
        }
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

    fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
        let destination = Destination::File { path: path.to_owned(), force };
        destination.write(|out| write!(out, "{MARK} {text}")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_report_is_replaced_as_a_whole_and_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.html");
        write(&path, "first, and longer", false).unwrap();
        let opened = File::open(&path).unwrap();
        write(&path, "second", false).unwrap();
        assert_eq!(io::read_to_string(opened).unwrap(), "tcptrace-report first, and longer");
        assert_eq!(fs::read_to_string(&path).unwrap(), "tcptrace-report second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let failing = |out: &mut dyn Write| out.write_all(b"half").and(Err(io::Error::other("no more")));
        let destination = Destination::File { path: path.clone(), force: false };
        assert!(matches!(destination.write(failing), Err(OutputError::Failed { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "tcptrace-report second");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left lying about");
    }

    #[test]
    fn what_is_no_report_is_kept_unless_it_is_forced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thesis.txt");
        fs::write(&path, "precious").unwrap();
        assert!(write(&path, "x", false).unwrap_err().contains("no report of tcptrace"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        write(&path, "x", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "tcptrace-report x");
        assert!(write(directory.path(), "x", false).unwrap_err().contains("directory"));
    }

    #[test]
    fn a_planted_link_is_refused_and_force_takes_only_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let link = directory.path().join("report.html");
        symlink(&victim, &link).unwrap();
        assert!(write(&link, "x", false).unwrap_err().contains("symbolic link"));
        write(&link, "x", true).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        let nowhere = directory.path().join("none/report.html");
        assert!(write(&nowhere, "x", false).unwrap_err().contains("create its directory first"));
    }
}
