//! Files and maps of the kernel in memory. Interprets none of the bytes.

use std::{
    io,
    os::fd::AsFd,
    ptr::{self, NonNull},
    slice,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes of the kernel's, until it is dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the bytes are mapped into all threads.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps so many bytes, shared or private, from an offset of whole pages.
    ///
    /// # Errors
    /// When this kernel does not let it be mapped, or there is no memory.
    pub(super) fn of(file: impl AsFd, offset: usize, length: usize, flags: MapFlags) -> io::Result<Self> {
        Self::with(file, offset, length, ProtFlags::READ, flags)
    }

    /// Maps so many bytes from the beginning, shared, into which this process writes too.
    ///
    /// # Errors
    /// As [`Mapping::of`].
    pub(super) fn to_write(file: impl AsFd, length: usize) -> io::Result<Self> {
        Self::with(file, 0, length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    }

    fn with(
        file: impl AsFd,
        offset: usize,
        length: usize,
        access: ProtFlags,
        flags: MapFlags,
    ) -> io::Result<Self> {
        // SAFETY: the kernel chooses an address where nothing is. A file that is not mapped by its driver fails here.
        let start = unsafe { mmap(ptr::null_mut(), length, access, flags, file, offset as u64) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, length })
    }

    /// The bytes of what never changes.
    ///
    /// # Safety
    /// The kernel writes nothing to them.
    pub(super) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: as many bytes are mapped until `self` is dropped, and the caller promises that nobody changes them.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Where the bytes of what the kernel changes begin.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many there are.
    pub(super) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}
