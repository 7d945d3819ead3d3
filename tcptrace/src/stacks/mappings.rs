//! The files that hold the code at addresses of a process, by /proc/PID/maps and /proc/PID/map_files: those that it
//! has mapped, be they deleted since or only in its container. Reads nothing of them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    ops::Range,
    os::fd::OwnedFd,
};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};

/// Most bytes read of `maps`: `vm.max_map_count` is 65,530, and a line has some 100 bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Executable memory of a process that comes from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) addresses: Range<u64>,
    /// Where in the file it begins.
    pub(super) offset: u64,
}

impl Mapping {
    /// The place in the file of an address.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.addresses.start)?.checked_add(self.offset)
    }

    /// Opens its file.
    ///
    /// # Errors
    /// When that may not be read, or is no regular file.
    pub(super) fn open(&self, process: &OwnedFd) -> io::Result<(File, Stat)> {
        let Range { start, end } = self.addresses;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(process, format!("map_files/{start:x}-{end:x}"), flags, Mode::empty())?;
        let status = fstat(&file)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("what it has mapped is no regular file"));
        }
        Ok((File::from(file), status))
    }
}

/// The mappings that hold these addresses, in order; `None` for what is no code of a file.
///
/// # Errors
/// When the process has ended, or may not be read.
pub(super) fn holding(process: &OwnedFd, addresses: &[u64]) -> io::Result<Vec<Option<Mapping>>> {
    let maps = openat(process, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    look_up(BufReader::new(File::from(maps).take(MAX_BYTES)), addresses)
}

fn look_up(mut maps: impl BufRead, addresses: &[u64]) -> io::Result<Vec<Option<Mapping>>> {
    let mut found = vec![None; addresses.len()];
    let mut line = Vec::new();
    while maps.read_until(b'\n', &mut line)? > 0 {
        if let Some(mapping) = parse(&String::from_utf8_lossy(&line)) {
            for (address, found) in addresses.iter().zip(&mut found) {
                if mapping.addresses.contains(address) {
                    *found = Some(mapping.clone());
                }
            }
        }
        line.clear();
    }
    Ok(found)
}

/// A line such as `55d0c6a00000-55d0c6b00000 r-xp 00001000 08:01 1234  /usr/bin/shop` (proc_pid_maps(5)).
fn parse(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_executable = words.next()?.as_bytes().get(2) == Some(&b'x');
    let hexadecimal = |word| u64::from_str_radix(word, 16).ok();
    let offset = hexadecimal(words.next()?)?;
    let is_file = words.nth(1)? != "0";
    let addresses = hexadecimal(start)?..hexadecimal(end)?;
    (is_executable && is_file).then_some(Mapping { addresses, offset })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    const MAPS: &str = "\
        00400000-00600000 r-xp 00000000 fe:00 1201   /srv/shop (deleted)\n\
        00600000-00800000 r--p 00200000 fe:00 1201   /srv/shop (deleted)\n\
        7f0000000000-7f0000010000 r-xp 00028000 fe:00 77 /lib/with a name.so\n\
        7f0000020000-7f0000030000 r-xp 00000000 00:00 0\n\
        7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0 [vdso]\n\
        nonsense\n";

    #[test]
    fn code_is_found_in_the_file_that_it_came_from() {
        let addresses = [0x40_1234, 0x60_0000, 0x7f00_0000_0010, 0x7f00_0002_0000, 0x7ffc_0000_0001, 0x1];
        let found = look_up(MAPS.as_bytes(), &addresses).unwrap();
        let program = Mapping { addresses: 0x40_0000..0x60_0000, offset: 0 };
        let library = Mapping { addresses: 0x7f00_0000_0000..0x7f00_0001_0000, offset: 0x2_8000 };
        assert_eq!(library.offset_of(0x7f00_0000_0010), Some(0x2_8010));
        assert_eq!(found, [Some(program), None, Some(library), None, None, None]);
    }
}
