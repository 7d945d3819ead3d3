//! Bounded reads of what nobody vouches for: a file, or the memory of a process. Interprets nothing.

use std::{fs::File, os::unix::fs::FileExt as _};

/// What one read of a string or a table fetches at once.
const CHUNK: usize = 256;

/// Bytes by their offset.
pub(super) trait Bytes {
    /// Reads from `offset` as much as there is; 0 at the end and where nothing can be read.
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> usize;

    /// Fills the buffer, or reads nothing.
    fn read<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        let mut buffer = [0; N];
        (self.read_some(offset, &mut buffer) == N).then_some(buffer)
    }

    fn u32(&self, offset: u64) -> Option<u32> {
        self.read(offset).map(u32::from_le_bytes)
    }

    fn u64(&self, offset: u64) -> Option<u64> {
        self.read(offset).map(u64::from_le_bytes)
    }

    /// The text up to the next zero byte; without one within `max` bytes, those.
    fn text(&self, offset: u64, max: usize) -> Option<String> {
        let bytes: Vec<u8> = Stream::new(self, offset, max).take_while(|byte| *byte != 0).collect();
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Bytes for File {
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) | Err(_) => break,
                Ok(read) => filled += read,
            }
        }
        filled
    }
}

impl Bytes for [u8] {
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        length
    }
}

/// Byte after byte, fetched in chunks, at most `left` of them.
pub(super) struct Stream<'a, B: ?Sized> {
    bytes: &'a B,
    next: u64,
    left: usize,
    chunk: [u8; CHUNK],
    at: usize,
    filled: usize,
}

impl<'a, B: Bytes + ?Sized> Stream<'a, B> {
    pub(super) fn new(bytes: &'a B, offset: u64, max: usize) -> Self {
        Self { bytes, next: offset, left: max, chunk: [0; CHUNK], at: 0, filled: 0 }
    }
}

impl<B: Bytes + ?Sized> Iterator for Stream<'_, B> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        if self.at == self.filled {
            self.filled = self.bytes.read_some(self.next, &mut self.chunk);
            self.next = self.next.checked_add(self.filled as u64)?;
            self.at = 0;
        }
        let byte = self.chunk[..self.filled].get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }
}
