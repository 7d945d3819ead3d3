//! Files without a name, and memories of processes that were never there.
#![expect(clippy::unwrap_used, reason = "what must not happen ends the fuzzer")]

use std::{fs::File, io::Write as _, os::unix::fs::FileExt as _};

/// Beyond it nothing is planted. A file may not be of any length.
const MAX_ADDRESS: u64 = 1 << 40;

/// A file with these bytes.
pub(crate) fn file(bytes: &[u8]) -> File {
    let mut file = File::from(rustix::fs::memfd_create("planted", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file
}

/// A file in which each byte stands at its address: of parts with an address (8 bytes), a length (2) and so many bytes. What
/// is between them reads as zero.
pub(crate) fn memory(mut parts: Bytes<'_>) -> File {
    const PAGE: u64 = 4096;
    let file = file(&[]);
    let mut end = 0;
    while let (Some(address), Some(bytes)) = (parts.u64(), parts.counted()) {
        if address < MAX_ADDRESS {
            file.write_all_at(bytes, address).unwrap();
            end = end.max(address + bytes.len() as u64);
        }
    }
    file.set_len(end.next_multiple_of(PAGE)).unwrap();
    file
}

/// The bytes of an input that are left.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A length of two bytes and so many, or as many as there are.
    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        self.take(self.0.len().min(length.into()))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}
