//! Where a report goes: standard output, or a file that is replaced as a whole, so that a reader never meets
//! half of it. Never replaces what is no report unless it is asked to.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno};

use super::{
    error::{OpenError, WriteError, in_words},
    safe_path::{REPLACE, SafePath},
    standard_output,
};

/// What every report says of itself at its beginning, whatever its form.
pub(crate) const MARK: &str = "tcptrace-report";

/// So far into a file the mark is looked for.
const MARK_WITHIN: u64 = 512;

/// Permissions of a report: for its owner alone.
const MODE: u32 = 0o600;

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReportDestination {
    /// Standard output.
    Stdout,
    File {
        path: PathBuf,
        /// Whatever has the name now may lose it.
        force: bool,
    },
}

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    /// The file cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The output is incomplete.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ReportDestination {
    /// Finds out whether a report could be written there, before much work is done for it.
    ///
    /// # Errors
    /// As for [`ReportDestination::write`].
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        match self {
            Self::Stdout => standard_output::require(),
            Self::File { path, force } => ReportFile::open(path, *force).map(drop),
        }
    }

    /// Writes a report by calling `write`; a file that was there is replaced once all of it is written.
    ///
    /// # Errors
    /// When a file there is not to be replaced, or the report cannot be written.
    pub(crate) fn write(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ReplaceError> {
        let failed = |name: String, error: &io::Error| WriteError::Failed {
            name,
            reason: format!("{}; the output is incomplete", in_words(error)),
        };
        let Self::File { path, force } = self else {
            let mut out = BufWriter::new(io::stdout().lock());
            let written = write(&mut out).and_then(|()| out.flush());
            return written.map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => WriteError::ReaderGone.into(),
                _ => failed(standard_output::NAME.to_owned(), &error).into(),
            });
        };
        let mut file = ReportFile::open(path, *force)?;
        let written = write(file.out()).and_then(|()| file.finish());
        written.map_err(|error| failed(path.display().to_string(), &error).into())
    }
}

/// What is written to.
enum ReportFile {
    /// A device, as it is.
    Device(BufWriter<File>),
    /// A new file beside the one that it is to replace.
    New(Replacement),
}

impl ReportFile {
    fn open(path: &Path, force: bool) -> Result<Self, OpenError> {
        let path = SafePath::find(path)?;
        if let Some(seen) = path.look()? {
            if seen.file_type().is_char_device() {
                return Ok(Self::Device(BufWriter::new(path.open_seen(OFlags::WRONLY, &seen)?)));
            }
            path.refuse_unless_replaceable(&seen)?;
            if !force {
                path.refuse_unless_own_file(&seen)?;
                if !is_report(&path.open_seen(OFlags::RDONLY, &seen)?) {
                    return Err(path.refused(format!("it holds what is no report of tcptrace; {REPLACE}")));
                }
            }
        }
        Replacement::begin(path).map(Self::New)
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

/// Whether a file holds an earlier report, or nothing.
fn is_report(file: &File) -> bool {
    let mut first = Vec::new();
    let read = file.take(MARK_WITHIN).read_to_end(&mut first);
    read.is_ok() && (first.is_empty() || first.windows(MARK.len()).any(|part| part == MARK.as_bytes()))
}

/// A new file, readable by its owner alone, that takes the place of another once it is whole.
struct Replacement {
    out: BufWriter<File>,
    /// Where it is until then.
    beside: SafePath,
    /// The name it takes.
    name: OsString,
    is_whole: bool,
}

impl Replacement {
    fn begin(path: SafePath) -> Result<Self, OpenError> {
        let name = path.name.clone();
        let mut own = OsString::from(".");
        own.push(&name);
        own.push(format!(".{}", std::process::id()));
        let beside = path.sibling(own);
        let file = beside.create(MODE).or_else(|errno| {
            if errno != Errno::EXIST {
                return Err(errno);
            }
            // A process with the same number was killed before it came to its end.
            beside.unlink()?;
            beside.create(MODE)
        });
        let file = file.map_err(|errno| beside.system(errno))?;
        Ok(Self { out: BufWriter::new(file), beside, name, is_whole: false })
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.beside.rename(&self.name)?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_whole {
            // Nothing more can be done about what is left lying about.
            let _ = self.beside.unlink();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
        let destination = ReportDestination::File { path: path.to_owned(), force };
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
        let destination = ReportDestination::File { path: path.clone(), force: false };
        assert!(matches!(destination.write(failing), Err(ReplaceError::Write(WriteError::Failed { .. }))));
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
        for force in [false, true] {
            assert!(write(directory.path(), "x", force).unwrap_err().contains("directory"));
        }
    }

    #[test]
    fn devices_and_what_stands_for_open_files_keep_their_names_even_if_it_is_forced() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("stdout");
        symlink("/proc/self/fd/1", &link).unwrap();
        for force in [false, true] {
            assert!(write(&link, "x", force).unwrap_err().contains("stands for a file that is open"));
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(write(Path::new("/dev/null"), "x", force), Ok(()));
            assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        }
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
