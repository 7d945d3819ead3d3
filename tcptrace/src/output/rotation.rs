//! Moves full files out of the way and removes the oldest of them. Opens nothing and writes no record.
//!
//! `x.jsonl.zst` becomes `x-20260102T030405.123456Z.jsonl.zst`: when it was moved away, in UTC, so that names sort by
//! time, and before the endings, so that they still name the form. What has such a name already is never
//! replaced, and only regular files of this user's with such a name are counted and removed.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    time::Duration,
};

use jiff::Timestamp;
use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, linkat, openat, renameat_with, statat, unlinkat,
    },
    io::Errno,
};

use super::file::DirectoryEntry;
use crate::{forms::detection::NameParts, host::user};

/// When a file is full, and how many are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// A file becomes no larger than this, in bytes, unless a single chunk of records is.
    pub size: Option<u64>,
    /// A file that has records becomes no older than this.
    pub every: Option<Duration>,
    /// So many files that were moved away are kept.
    pub keep: Option<usize>,
    /// All files together, the present one too, take no more than this, in bytes.
    pub max_total: Option<u64>,
}

impl Rotation {
    /// Whether files are moved away at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.size.is_some() || self.every.is_some()
    }
}

/// Names tried before moving is given up, a microsecond apart.
const ATTEMPTS: i64 = 1000;

/// Gives the file the name of one that was moved away at this time, or a little later if that is taken.
pub(crate) fn move_away(entry: &DirectoryEntry, now: Timestamp) -> io::Result<()> {
    let parts = NameParts::of(&entry.name);
    for attempt in 0..ATTEMPTS {
        let time = now + Duration::from_micros(attempt.unsigned_abs());
        match rename(entry, &moved_name(&parts, time)) {
            Err(Errno::EXIST) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::EXIST.into())
}

fn rename(entry: &DirectoryEntry, to: &OsStr) -> Result<(), Errno> {
    let DirectoryEntry { directory, name, identity: _ } = entry;
    match renameat_with(directory, name, directory, to, RenameFlags::NOREPLACE) {
        // A file system that cannot promise not to replace: a second name can be made on the same terms.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(directory, name, directory, to, AtFlags::empty())?;
            unlinkat(directory, name, AtFlags::empty())
        }
        result => result,
    }
}

fn moved_name(parts: &NameParts, time: Timestamp) -> OsString {
    let NameParts { stem, endings, .. } = parts;
    let mut name = stem.clone();
    name.push(time.strftime("-%Y%m%dT%H%M%S%.6fZ").to_string());
    name.push(endings);
    name
}

/// Whether this is the name of a file that was moved away.
fn is_moved_name(parts: &NameParts, name: &[u8]) -> bool {
    const MODEL: &[u8] = b"-00000000T000000.000000Z";
    let stamp =
        name.strip_prefix(parts.stem.as_bytes()).and_then(|rest| rest.strip_suffix(parts.endings.as_bytes()));
    let fits = |(byte, model): (&u8, &u8)| if *model == b'0' { byte.is_ascii_digit() } else { byte == model };
    stamp.is_some_and(|stamp| stamp.len() == MODEL.len() && stamp.iter().zip(MODEL).all(fits))
}

/// Removes the oldest files that were moved away until what is left keeps the limits with `reserve` bytes to spare;
/// the bytes that are left.
pub(crate) fn prune(directory: &OwnedFd, name: &OsStr, rotation: &Rotation, reserve: u64) -> io::Result<u64> {
    let parts = NameParts::of(name);
    let readable =
        openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let own = user::of_files();
    let mut moved = Vec::new();
    for entry in Dir::new(readable)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if !is_moved_name(&parts, name.as_bytes()) {
            continue;
        }
        let Ok(status) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(status.st_mode).is_file() && status.st_uid == own {
            moved.push((name.to_owned(), u64::try_from(status.st_size).unwrap_or(0)));
        }
    }
    // The newest first.
    moved.sort_by(|one, other| other.cmp(one));
    let mut left = 0;
    let mut kept = 0;
    for (name, bytes) in moved {
        let is_over = rotation.keep.is_some_and(|keep| kept >= keep)
            || rotation.max_total.is_some_and(|most| left + bytes + reserve > most);
        if is_over {
            unlinkat(directory, &name, AtFlags::empty())?;
        } else {
            left += bytes;
            kept += 1;
        }
    }
    Ok(left)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;
    use crate::{
        forms::jsonl::form::FORMAT,
        output::file::{self, IfExists},
    };

    fn entry(path: &Path) -> DirectoryEntry {
        file::open(path, &FORMAT, IfExists::Empty, None).unwrap().entry.unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_moved_file_has_its_time_before_its_endings_and_replaces_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let now = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        let planted = scratch.path().join("x-20260102T030405.123456Z.jsonl.zst");
        symlink("/etc/passwd", planted).unwrap();
        for _ in 0..2 {
            let entry = entry(&scratch.path().join("x.jsonl.zst"));
            move_away(&entry, now).unwrap();
            assert!(!entry.is_current());
        }
        assert_eq!(
            names(scratch.path()),
            [
                "x-20260102T030405.123456Z.jsonl.zst",
                "x-20260102T030405.123457Z.jsonl.zst",
                "x-20260102T030405.123458Z.jsonl.zst"
            ]
        );
    }

    #[test]
    fn the_oldest_go_first_and_strangers_are_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let strangers =
            ["x-1.jsonl", "x-20260101T000000.00000aZ.jsonl", "y-20260101T000000.000000Z.jsonl", "x.jsonl"];
        for name in strangers {
            fs::write(path(name), [0; 1000]).unwrap();
        }
        symlink("/etc/passwd", path("x-20200101T000000.000000Z.jsonl")).unwrap();
        for day in 1..=5 {
            fs::write(path(&format!("x-2026010{day}T000000.000000Z.jsonl")), [0; 100]).unwrap();
        }
        let entry = entry(&path("x.jsonl.new"));
        let prune = |rotation: Rotation, reserve| {
            prune(&entry.directory, OsStr::new("x.jsonl"), &rotation, reserve).unwrap()
        };
        assert_eq!(prune(Rotation { keep: Some(4), ..Rotation::default() }, 0), 400);
        assert!(!path("x-20260101T000000.000000Z.jsonl").exists());
        assert_eq!(prune(Rotation { max_total: Some(350), ..Rotation::default() }, 100), 200);
        assert!(!path("x-20260103T000000.000000Z.jsonl").exists());
        assert!(path("x-20260104T000000.000000Z.jsonl").exists());
        assert!(strangers.iter().all(|name| path(name).exists()));
        assert!(path("x-20200101T000000.000000Z.jsonl").is_symlink());
        assert_eq!(prune(Rotation { keep: Some(0), ..Rotation::default() }, 0), 0);
    }
}
