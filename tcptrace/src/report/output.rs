//! Where a report goes: standard output, or a file that is replaced as a whole, so that a reader never meets half of it.
//! Root writes here: never through a symbolic link, never over another user's file.

use std::{
    fs,
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
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
    /// There is one already, and replacing it would not be safe.
    #[error("will not write to {path}: it {reason}; name another file, or remove it first", path = path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
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
    pub fn check(&self) -> Result<(), OutputError> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path) if is_device(path) => Ok(()),
            Self::File(path) => Replacement::begin(path).map(drop),
        }
    }

    /// Writes a report by calling `write`; a file that was there is replaced once all of it is written.
    ///
    /// # Errors
    /// When a file there is not to be replaced, or the report cannot be written.
    pub fn write(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
        match self {
            Self::Stdout => {
                let mut out = BufWriter::new(io::stdout().lock());
                let written = write(&mut out).and_then(|()| out.flush());
                written.map_err(|source| match source.kind() {
                    io::ErrorKind::BrokenPipe => OutputError::ReaderGone,
                    _ => failed(Path::new("standard output"), source),
                })
            }
            Self::File(path) if is_device(path) => {
                let file =
                    fs::OpenOptions::new().write(true).open(path).map_err(|source| system(path, source))?;
                let mut out = BufWriter::new(file);
                write(&mut out).and_then(|()| out.flush()).map_err(|source| failed(path, source))
            }
            Self::File(path) => {
                let mut replacement = Replacement::begin(path)?;
                write(&mut replacement.out)
                    .and_then(|()| replacement.finish(path))
                    .map_err(|source| failed(path, source))
            }
        }
    }
}

fn is_device(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

fn failed(path: &Path, source: io::Error) -> OutputError {
    OutputError::Failed { destination: path.display().to_string(), source }
}

fn system(path: &Path, source: io::Error) -> OutputError {
    let remedy = match source.kind() {
        io::ErrorKind::NotFound => "; create its directory first",
        _ => "",
    };
    OutputError::Open { path: path.to_owned(), source, remedy }
}

/// A new file beside the one that it is to replace, readable by its owner alone.
struct Replacement {
    out: BufWriter<tempfile::NamedTempFile>,
}

impl Replacement {
    fn begin(path: &Path) -> Result<Self, OutputError> {
        let refuse = |reason| Err(OutputError::Unsafe { path: path.to_owned(), reason });
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => {
                return refuse("is a symbolic link, which is not followed");
            }
            Ok(metadata) if !metadata.is_file() => return refuse("is no regular file"),
            Ok(metadata) if metadata.uid() != rustix::process::geteuid().as_raw() => {
                return refuse("belongs to another user");
            }
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(system(path, source)),
            Ok(_) | Err(_) => {}
        }
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new()
            .prefix(".tcptrace-report-")
            .tempfile_in(directory)
            .map_err(|source| system(path, source))?;
        Ok(Self { out: BufWriter::new(file) })
    }

    fn finish(self, path: &Path) -> io::Result<()> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(path: &Path, text: &str) -> Result<(), OutputError> {
        Destination::File(path.to_owned()).write(|out| out.write_all(text.as_bytes()))
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.html");
        write(&path, "first, and longer").unwrap();
        let opened = fs::File::open(&path).unwrap();
        write(&path, "second").unwrap();
        assert_eq!(io::read_to_string(opened).unwrap(), "first, and longer", "who reads it reads on");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let failing = |out: &mut dyn Write| out.write_all(b"half").and(Err(io::Error::other("no more")));
        Destination::File(path.clone()).write(failing).unwrap_err();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "second",
            "what could not be finished replaces nothing"
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left lying about");
    }

    #[test]
    fn a_planted_link_and_a_missing_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let link = directory.path().join("report.html");
        symlink(&victim, &link).unwrap();
        assert!(write(&link, "x").unwrap_err().to_string().contains("symbolic link"));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        let nowhere = directory.path().join("none/report.html");
        assert!(write(&nowhere, "x").unwrap_err().to_string().contains("create its directory first"));
    }
}
