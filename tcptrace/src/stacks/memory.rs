//! Bounded reads of the memory of a process, which may hold anything. Stops, writes and attaches to nothing: /proc/PID/mem
//! is only read, and once it is open it stays that of the program that ran then (`mem_open` of fs/proc/base.c).

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
};

use rustix::fs::{Mode, OFlags, openat};

/// The memory of a process.
pub(super) struct ProcessMemory(File);

impl ProcessMemory {
    /// Opens it, by the directory of the process.
    ///
    /// # Errors
    /// When the process has ended, or may not be read.
    pub(super) fn open(process: &OwnedFd) -> io::Result<Self> {
        let memory = openat(process, "mem", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self(File::from(memory)))
    }

    /// A file in which each byte stands at its address.
    #[cfg(test)]
    pub(super) fn planted(file: File) -> Self {
        Self(file)
    }

    /// So many bytes, all of them or none.
    pub(super) fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    /// As [`ProcessMemory::read`], of a length that the process says: none beyond `most`.
    pub(super) fn bytes(&self, address: u64, length: u64, most: usize) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok().filter(|length| *length <= most)?;
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }
}

/// A number in bytes that were read; `None` beyond their end.
pub(super) fn u64_at(bytes: &[u8], offset: u32) -> Option<u64> {
    bytes.get(usize::try_from(offset).ok()?..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// As [`u64_at`], of 32 bits.
pub(super) fn u32_at(bytes: &[u8], offset: u32) -> Option<u32> {
    bytes.get(usize::try_from(offset).ok()?..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_bounded_and_whole() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1, 2, 3, 4, 5, 6, 7, 8], 0x1000).unwrap();
        let memory = ProcessMemory::planted(file);
        assert_eq!(memory.read(0x1002), Some([3, 4]));
        assert_eq!(memory.read::<8>(0x1001), None);
        assert_eq!(memory.read::<1>(u64::MAX), None);
        assert_eq!(memory.bytes(0x1000, 3, 3), Some(vec![1, 2, 3]));
        assert_eq!(memory.bytes(0x1000, 4, 3), None);
        assert_eq!(memory.bytes(0x1000, u64::MAX, 16), None);
    }

    #[test]
    fn numbers_end_where_the_bytes_do() {
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!((u64_at(&bytes, 0), u64_at(&bytes, 2), u64_at(&bytes, u32::MAX)), (Some(1), None, None));
        assert_eq!((u32_at(&bytes, 0), u32_at(&bytes, 6)), (Some(1), None));
    }
}
