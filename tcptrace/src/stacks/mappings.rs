//! The files that hold the code of a process, by /proc/PID/maps and /proc/PID/map_files: those that it has mapped, be they
//! deleted since or only in its container. Reads nothing of them.

use std::{
    ffi::OsString,
    fs::File,
    hash::{Hash as _, Hasher as _},
    io::{self, BufRead, BufReader, Read as _},
    ops::Range,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
};

use rustc_hash::FxHasher;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

use crate::process::reader::DIRECTORY;

/// Most bytes read of `maps`: `vm.max_map_count` is 65,530, and a line has some 100 bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Executable memory of a process that comes from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub addresses: Range<u64>,
    /// Where in the file it begins.
    pub offset: u64,
}

/// Which file it is, as long as nobody changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, u64),
}

/// Opens the directory of a process.
///
/// # Errors
/// When the process has ended, or may not be read.
pub(super) fn process(proc_root: &Path, pid: u32) -> io::Result<OwnedFd> {
    Ok(openat(CWD, proc_root.join(pid.to_string()), DIRECTORY, Mode::empty())?)
}

impl Mapping {
    /// The place in the file of an address.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.addresses.start)?.checked_add(self.offset)
    }

    /// The part of the file.
    pub(super) fn in_file(&self) -> Range<u64> {
        let length = self.addresses.end.saturating_sub(self.addresses.start);
        self.offset..self.offset.saturating_add(length)
    }

    /// The path of its file, as the process sees it; `(deleted)` behind it if it is.
    pub(super) fn path(&self, process: &OwnedFd) -> io::Result<PathBuf> {
        path_in(process, &self.link())
    }

    fn link(&self) -> String {
        let Range { start, end } = self.addresses;
        format!("map_files/{start:x}-{end:x}")
    }

    /// Opens its file.
    ///
    /// # Errors
    /// When that may not be read, or is no regular file.
    pub(super) fn open(&self, process: &OwnedFd) -> io::Result<(FileIdentity, File)> {
        let path = self.link();
        // To open a device may have effects.
        regular(statat(process, &path, AtFlags::empty())?)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(process, &path, flags, Mode::empty())?;
        Ok((regular(fstat(&file)?)?, File::from(file)))
    }
}

/// The path of the program that a process runs, as the process sees it.
pub(super) fn program_path(process: &OwnedFd) -> io::Result<PathBuf> {
    path_in(process, "exe")
}

/// Where a link in the directory of a process leads. The kernel tells it as seen from here: what is below a root of its own,
/// as after chroot(2), is told without that.
fn path_in(process: &OwnedFd, link: &str) -> io::Result<PathBuf> {
    let read = |link| readlinkat(process, link, Vec::new());
    let path = PathBuf::from(OsString::from_vec(read(link)?.into_bytes()));
    let root = read("root").map(|root| PathBuf::from(OsString::from_vec(root.into_bytes())));
    let within =
        root.ok().and_then(|root| path.strip_prefix(root).ok().map(|rest| Path::new("/").join(rest)));
    Ok(within.unwrap_or(path))
}

/// Tells what code a process has mapped from what it has at other times.
pub(super) fn state(proc_root: &Path, pid: u32) -> Option<u64> {
    let mut hasher = FxHasher::default();
    let process = process(proc_root, pid).ok()?;
    executable(&process)
        .ok()?
        .for_each(|Mapping { addresses, offset }| (addresses, offset).hash(&mut hasher));
    Some(hasher.finish())
}

/// Opens the program that a process runs.
///
/// # Errors
/// When that may not be read, or is no regular file: a thread of the kernel has none.
pub(super) fn program(process: &OwnedFd) -> io::Result<(FileIdentity, File)> {
    regular(statat(process, "exe", AtFlags::empty())?)?;
    let file = openat(process, "exe", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    Ok((regular(fstat(&file)?)?, File::from(file)))
}

fn regular(status: Stat) -> io::Result<FileIdentity> {
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("what it has mapped is no regular file"));
    }
    let Stat { st_dev: device, st_ino: inode, st_size: size, st_ctime, st_ctime_nsec, .. } = status;
    Ok(FileIdentity { device, inode, size, changed: (st_ctime, st_ctime_nsec) })
}

/// The executable mappings of a process that files stand behind, by address.
///
/// # Errors
/// When the process has ended, or may not be read.
pub(super) fn executable(process: &OwnedFd) -> io::Result<impl Iterator<Item = Mapping>> {
    executable_named(process, |_| true)
}

/// The same, of the files whose path, as `maps` has it, `is_wanted`.
///
/// # Errors
/// As [`executable`].
pub(super) fn executable_named(
    process: &OwnedFd,
    is_wanted: impl Fn(&str) -> bool,
) -> io::Result<impl Iterator<Item = Mapping>> {
    let maps = openat(process, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(parse_all(BufReader::new(File::from(maps).take(MAX_BYTES)), is_wanted))
}

/// The mappings of `maps`, of the files whose path `is_wanted`.
pub fn parse_all(maps: impl BufRead, is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Mapping> {
    // Names of files are any bytes.
    maps.split(b'\n')
        .map_while(Result::ok)
        .filter_map(move |line| parse(&String::from_utf8_lossy(&line), &is_wanted))
}

/// A line such as `55d0c6a00000-55d0c6b00000 r-xp 00001000 08:01 1234  /usr/bin/shop` (proc_pid_maps(5)).
fn parse(line: &str, is_wanted: impl Fn(&str) -> bool) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_executable = words.next()?.as_bytes().get(2) == Some(&b'x');
    let hexadecimal = |word| u64::from_str_radix(word, 16).ok();
    let offset = hexadecimal(words.next()?)?;
    let is_file = words.nth(1)? != "0";
    let addresses = hexadecimal(start)?..hexadecimal(end)?;
    let is_wanted = is_executable && is_file && is_wanted(words.next().unwrap_or_default());
    is_wanted.then_some(Mapping { addresses, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_mappings_of_files_count() {
        let maps = b"\
            00400000-00600000 r-xp 00000000 fe:00 1201   /srv/shop (deleted)\n\
            00600000-00800000 r--p 00200000 fe:00 1201   /srv/shop (deleted)\n\
            7f0000000000-7f0000010000 r-xp 00028000 fe:00 77 /lib/with a \xff.so\n\
            7f0000020000-7f0000030000 rwxp 00000000 00:00 0 \n\
            7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0 [vdso]\n\
            nonsense\n";
        let program = Mapping { addresses: 0x40_0000..0x60_0000, offset: 0 };
        let library = Mapping { addresses: 0x7f00_0000_0000..0x7f00_0001_0000, offset: 0x2_8000 };
        assert_eq!(library.offset_of(0x7f00_0000_0010), Some(0x2_8010));
        assert_eq!(parse_all(&maps[..], |_| true).collect::<Vec<_>>(), [program.clone(), library]);
        assert_eq!(parse_all(&maps[..], |path| path.ends_with("shop")).collect::<Vec<_>>(), [program]);
    }
}
