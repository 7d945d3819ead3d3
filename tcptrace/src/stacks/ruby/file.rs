//! Whether a file holds Ruby's virtual machine, and which: the program itself, or a libruby. By the names that it exports,
//! and by what it says to extensions.

use std::{fs::File, ops::Range};

use super::layout::{self, LOCK_BYTES, Layout};
use crate::stacks::{
    elf::{BoundedFile, Elf, Segment},
    scripts::variable::read_by,
};

/// A file that holds Ruby. Addresses are those that the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stacks) struct RubyFile {
    pub(in crate::stacks) segments: Vec<Segment>,
    /// `ruby_current_vm_ptr`.
    pub(in crate::stacks) machine: u64,
    /// Its machine code.
    pub(in crate::stacks) machine_code: Range<u64>,
    pub(in crate::stacks) layout: Layout,
}

/// `ruby_vm_at_exit` of vm.c takes the machine, and then memory for what it adds to that: before its first call it reads
/// `ruby_current_vm_ptr`, which is not exported since 3.3.
const TAKES_MACHINE: &str = "ruby_vm_at_exit";

/// Most bytes of a version: `3.3.10`, and a zero.
const MOST_VERSION_BYTES: u64 = 12;

/// `pthread_mutex_t` of glibc on aarch64 (sysdeps/aarch64/nptl/bits/pthreadtypes-arch.h).
const LOCK_BYTES_OF_GLIBC_ON_AARCH64: u32 = 48;

/// Which version of Ruby a file holds, if its lines can be read: `3.1`.
pub(in crate::stacks) fn version(file: File) -> Option<&'static str> {
    let file = BoundedFile::new(file);
    read(&Elf::read(&file)?).map(|ruby| ruby.layout.version)
}

/// Reads it from a file; `None` of a version that is not known here, too.
pub(in crate::stacks) fn read(elf: &Elf<'_>) -> Option<RubyFile> {
    let place = elf.exported_range("ruby_version")?;
    let length = place.end.checked_sub(place.start).filter(|length| *length <= MOST_VERSION_BYTES)?;
    let text = elf.at(place.start, length)?;
    let version = std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()?;
    let layout = layout::of_version(version, lock_bytes(elf))?;
    let [exported] = elf.exported(["ruby_current_vm_ptr"])?;
    let machine = exported.or_else(|| read_by(elf, TAKES_MACHINE))?;
    Some(RubyFile { segments: elf.segments().collect(), machine, machine_code: elf.machine_code()?, layout })
}

/// The bytes that a lock has.
fn lock_bytes(elf: &Elf<'_>) -> u32 {
    let is_of_glibc = || elf.needs().is_some_and(|mut needed| needed.any(|name| name == b"libc.so.6"));
    if elf.is_aarch64() && is_of_glibc() { LOCK_BYTES_OF_GLIBC_ON_AARCH64 } else { LOCK_BYTES }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::path::Path;

    use super::*;

    fn seed(name: &str) -> File {
        File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/elf").join(name)).unwrap()
    }

    #[test]
    fn a_file_that_leads_to_the_machine_holds_ruby_if_the_version_is_known() {
        assert_eq!(version(seed("ruby-3.1")), Some("3.1"));
        assert_eq!(version(seed("ruby-3.3")), Some("3.3"));
        assert_eq!(version(seed("ruby-4.0")), None);
        assert_eq!(version(seed("php-8.2")), None);
    }

    #[test]
    fn what_is_not_exported_is_found_by_the_code_that_reads_it() {
        let file = BoundedFile::new(seed("ruby-3.3"));
        let ruby = read(&Elf::read(&file).unwrap()).unwrap();
        assert_eq!((ruby.machine, ruby.layout.walk.threads), (0x2008, 256));
    }
}
