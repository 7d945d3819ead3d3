//! Gives up all files but some (Landlock, Linux 5.13). Not for what looks into processes: under Landlock that is refused,
//! whatever capabilities there are (`hook_ptrace_access_check` of security/landlock).

use std::{
    env,
    ffi::OsStr,
    fs::FileType,
    os::unix::{ffi::OsStrExt as _, fs::FileTypeExt as _},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, path_beneath_rules,
};
use thiserror::Error;

/// The kernel limits no files, or does not take the rules.
#[derive(Debug, Error)]
pub(crate) enum FileAccessError {
    /// Landlock is not there, or not switched on.
    #[error("this kernel cannot limit which files are opened (Landlock)")]
    Absent,
    /// The rules are not taken.
    #[error("cannot limit which files are opened: {0}")]
    Refused(#[from] RulesetError),
}

/// What is still opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileAccess {
    /// Files and directories to read, with all below them.
    pub(crate) reads: Vec<PathBuf>,
    /// Directories in which files are made, written, read, renamed and removed.
    pub(crate) writes: Vec<PathBuf>,
}

/// Where time zones come from (localtime(5)).
const TIME_ZONES: [&str; 4] =
    ["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo", "/usr/share/lib/zoneinfo"];

/// Where else they come from, by the environment: a file, and a directory (tzset(3)).
fn own_time_zones() -> impl Iterator<Item = PathBuf> {
    let named = env::var_os("TZ").map(|name| {
        let name = name.as_bytes();
        PathBuf::from(OsStr::from_bytes(name.strip_prefix(b":").unwrap_or(name)))
    });
    named.filter(|file| file.is_absolute()).into_iter().chain(env::var_os("TZDIR").map(PathBuf::from))
}

impl FileAccess {
    /// All of it.
    pub(crate) fn places(&self) -> Vec<PathBuf> {
        self.reads.iter().chain(&self.writes).cloned().collect()
    }

    /// A file to read, and its directory, by the name that was given and by where links lead.
    pub(crate) fn read_beside(&mut self, file: &Path) {
        // One that is open may have no name any more (/dev/stdin).
        self.reads.push(file.to_owned());
        self.reads.push(directory_of(file));
        self.reads.extend(file.canonicalize().ok().as_deref().map(directory_of));
    }

    /// The directory of a file to write, likewise.
    pub(crate) fn write_beside(&mut self, file: &Path) {
        self.writes.push(directory_of(file));
        self.writes.extend(file.canonicalize().ok().as_deref().map(directory_of));
    }
}

/// The directory that a file is in.
pub(crate) fn directory_of(file: &Path) -> PathBuf {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

/// Gives up the rest, in this thread and in those that it starts from now on. Takes no_new_privs or CAP_SYS_ADMIN. Paths
/// that are not there are passed over; files that are open stay so.
///
/// # Errors
/// When the kernel cannot do it.
pub(crate) fn keep(access: &FileAccess) -> Result<(), FileAccessError> {
    // What later kernels add is given up where they run.
    let all = ABI::V5;
    let time_zones = TIME_ZONES.into_iter().map(PathBuf::from).chain(own_time_zones());
    let reads = access.reads.iter().filter(|path| !has_no_name(path)).cloned().chain(time_zones);
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(all))?
        .create()?
        .add_rules(path_beneath_rules(reads, AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(&access.writes, writing()))?
        .restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced { Err(FileAccessError::Absent) } else { Ok(()) }
}

/// Whether only a descriptor leads to it: a pipe or a socket (`<(…)`, `/dev/stdin` behind `|`). The kernel lets everybody open
/// these, and takes no rule for them (EBADFD: `get_path_from_fd` of security/landlock/syscalls.c).
fn has_no_name(path: &Path) -> bool {
    let is_stream = |kind: FileType| kind.is_fifo() || kind.is_socket();
    path.metadata().is_ok_and(|file| is_stream(file.file_type())) && path.canonicalize().is_err()
}

fn writing() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{fs, io, os::fd::AsRawFd as _, thread};

    use super::*;

    #[test]
    fn files_elsewhere_are_refused_and_those_named_go_on() {
        let [input, output, elsewhere] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for folder in [&input, &elsewhere] {
            fs::write(folder.path().join("recording"), "records").unwrap();
        }
        let path = |folder: &tempfile::TempDir| folder.path().join("recording");
        let (kept, made, other) = (path(&input), path(&output), path(&elsewhere));
        // The rules are this thread's alone, and end with it.
        let done = thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            let mut access = FileAccess::default();
            access.read_beside(&kept);
            access.write_beside(&made);
            let (pipe, _writer) = io::pipe().unwrap();
            access.read_beside(Path::new(&format!("/dev/fd/{}", pipe.as_raw_fd())));
            let limited = keep(&access);
            let kind = |error: io::Error| error.kind();
            let moved = made.with_extension("done");
            let own = fs::read(&kept)
                .and_then(|_| fs::write(&made, "report"))
                .and_then(|()| fs::rename(&made, &moved))
                .and_then(|()| fs::remove_file(&moved));
            let written = fs::write(&kept, "").map_err(kind);
            (limited, own.map_err(kind), fs::read(&other).map(|_| ()).map_err(kind), written)
        });
        let denied = Err(io::ErrorKind::PermissionDenied);
        match done.join().unwrap() {
            (Ok(()), own, elsewhere, written) => {
                assert_eq!((own, elsewhere, written), (Ok(()), denied, denied));
            }
            // A kernel without it refuses nothing.
            (Err(error), ..) => assert!(matches!(error, FileAccessError::Absent), "{error}"),
        }
    }
}
