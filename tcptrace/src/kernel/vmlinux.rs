//! The bytes of the kernel's own BTF: mapped where the kernel lets them be, read elsewhere. Interprets none of them.

use std::{
    fs::{self, File},
    io,
    ops::Deref,
    ptr, slice,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The BTF of the running kernel.
pub(crate) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The kernel's BTF.
pub(super) enum Vmlinux {
    /// Mapped: costs neither copies nor memory of ours.
    Mapped(Mapping),
    /// Read: sysfs hands out 4 KiB a call.
    Read(Vec<u8>),
}

impl Vmlinux {
    /// Maps the kernel's BTF (Linux 6.16, `btf_sysfs_vmlinux_mmap` of kernel/bpf/sysfs_btf.c), or reads it.
    ///
    /// # Errors
    /// When the kernel shows none.
    pub(super) fn open() -> io::Result<Self> {
        let file = File::open(VMLINUX)?;
        match Mapping::of(&file) {
            Ok(mapping) => Ok(Self::Mapped(mapping)),
            Err(_) => fs::read(VMLINUX).map(Self::Read),
        }
    }
}

impl Deref for Vmlinux {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(mapping) => mapping.bytes(),
            Self::Read(bytes) => bytes,
        }
    }
}

/// A file of sysfs in memory, until it is dropped.
pub(super) struct Mapping {
    start: ptr::NonNull<u8>,
    length: usize,
}

impl Mapping {
    fn of(file: &File) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: the kernel chooses an address where nothing is. A file that is not mapped by its driver fails here.
        let start = unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
        let start = ptr::NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, length })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: as many bytes are mapped until `self` is dropped, and the kernel never changes its BTF.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_what_can_be_read() {
        assert!(*Vmlinux::open().unwrap() == *fs::read(VMLINUX).unwrap());
    }
}
