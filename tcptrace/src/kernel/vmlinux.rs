//! The bytes of the kernel's BTF: mapped where the kernel lets them be, read elsewhere, or read from a file that somebody
//! has of this kernel. Interprets none of them.

use std::{
    fs::File,
    io::{self, Read as _},
    ops::Deref,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::{fs::OFlags, mm::MapFlags};

use super::mapping::Mapping;
use crate::host::world::KERNELS_BTF;

/// The most bytes that are read of a file. A kernel's BTF has some 5 to 10 MiB.
const MAX_BYTES: u64 = 64 << 20;

/// The kernel's BTF.
pub(super) enum Vmlinux {
    /// Mapped: costs neither copies nor memory of ours.
    Mapped(Mapping),
    /// Read: sysfs hands out 4 KiB a call.
    Read(Vec<u8>),
}

impl Vmlinux {
    /// Maps the kernel's own BTF (Linux 6.16, `btf_sysfs_vmlinux_mmap` of kernel/bpf/sysfs_btf.c), or reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or is too large for what it should be.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Nobody may write into a FIFO.
        let file =
            File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        if file.metadata()?.file_type().is_fifo() {
            return Err(io::Error::other("no regular file"));
        }
        // Another file could be cut short while it is mapped.
        let is_kernels = path == Path::new(KERNELS_BTF);
        if is_kernels && let Ok(mapping) = map(&file) {
            return Ok(Self::Mapped(mapping));
        }
        let mut bytes = Vec::new();
        if file.take(MAX_BYTES + 1).read_to_end(&mut bytes)? as u64 > MAX_BYTES {
            return Err(io::Error::other("more than 64 MiB"));
        }
        Ok(Self::Read(bytes))
    }
}

impl Deref for Vmlinux {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            // SAFETY: the kernel never changes its BTF.
            Self::Mapped(mapping) => unsafe { mapping.bytes() },
            Self::Read(bytes) => bytes,
        }
    }
}

fn map(file: &File) -> io::Result<Mapping> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    Mapping::of(file, 0, length, MapFlags::PRIVATE)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_what_can_be_read() {
        let path = Path::new(KERNELS_BTF);
        assert!(*Vmlinux::open(path).unwrap() == *std::fs::read(path).unwrap());
    }
}
