//! Opens output files as root ought to: never through a symbolic link that somebody planted, never
//! over another user's file.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open};
use thiserror::Error;

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
    /// It is there, and writing to it would not be safe.
    #[error("will not write to {path}: it {reason}; name another file, or remove it first", path = path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Creates the file, readable by its owner alone, or empties it when it is this user's own.
pub fn create(path: &Path) -> Result<File, OpenError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let system = |errno: rustix::io::Errno| {
        let remedy = match errno {
            rustix::io::Errno::LOOP => "; it is a symbolic link, which is not followed: name the file itself",
            rustix::io::Errno::NOENT => "; create its directory first",
            _ => "",
        };
        OpenError::System { path: path.to_owned(), source: errno.into(), remedy }
    };
    let file = File::from(open(path, flags, Mode::RUSR | Mode::WUSR).map_err(system)?);
    let metadata =
        file.metadata().map_err(|source| OpenError::System { path: path.to_owned(), source, remedy: "" })?;
    let refuse = |reason| OpenError::Unsafe { path: path.to_owned(), reason };
    let is_device = !metadata.is_file() && path.starts_with("/dev");
    if is_device {
        return Ok(file);
    }
    if !metadata.is_file() {
        return Err(refuse("is no regular file"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse("belongs to another user"));
    }
    if metadata.nlink() > 1 {
        return Err(refuse("has other names (hard links)"));
    }
    // Only now, when it is known whose it is.
    file.set_len(0).map_err(|source| OpenError::System { path: path.to_owned(), source, remedy: "" })?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_new_file_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new.jsonl");
        create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let link = directory.path().join("out.jsonl");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let error = create(&link).unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
        let hard = directory.path().join("hard.jsonl");
        fs::hard_link(&victim, &hard).unwrap();
        assert!(matches!(create(&hard), Err(OpenError::Unsafe { .. })));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = create(Path::new("/nonexistent-directory/x.jsonl")).unwrap_err().to_string();
        assert!(error.contains("create its directory first"), "{error}");
    }
}
