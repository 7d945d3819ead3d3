//! Which file an address lies in, and where in it: for code that has no name. Reads the heads of
//! the files that a process has mapped, bounded and untrusted.

use std::{
    fmt::Write as _,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
};

use super::mappings::{self, Mapping};

/// Program headers looked at.
const MAX_HEADERS: u64 = 64;

/// Read of a note section.
const MAX_NOTES: u64 = 4096;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) module: PathBuf,
    /// As the file's own tools count (`addr2line -e`); the offset in the file where its head makes no sense.
    pub(super) address: u64,
    /// In hexadecimal.
    pub(super) build_id: Option<String>,
}

/// The files that these addresses lie in, in order; `None` for what is in none.
///
/// # Errors
/// When the process has ended, or may not be read.
pub(super) fn places(proc_root: &Path, pid: u32, addresses: &[u64]) -> io::Result<Vec<Option<Place>>> {
    let process = mappings::process(proc_root, pid)?;
    let mut places = vec![None; addresses.len()];
    for mapping in mappings::executable(&process)? {
        let of_it = addresses.iter().zip(&mut places).filter(|(at, _)| mapping.addresses.contains(at));
        for (address, place) in of_it {
            *place = Some(self::place(&process, &mapping, *address)?);
        }
    }
    Ok(places)
}

fn place(process: &OwnedFd, mapping: &Mapping, address: u64) -> io::Result<Place> {
    let offset = mapping.offset_of(address).unwrap_or(address);
    let head = mapping.open(process).ok().and_then(|(_, file)| Head::read(&file)).unwrap_or_default();
    Ok(Place {
        module: mapping.path(process)?,
        address: head.address_of(offset).unwrap_or(offset),
        build_id: head.build_id,
    })
}

/// What the head of an ELF file of 64 bits says.
#[derive(Default)]
struct Head {
    /// Offset, size and address of each loaded part.
    loaded: Vec<(u64, u64, u64)>,
    build_id: Option<String>,
}

impl Head {
    fn read(file: &File) -> Option<Self> {
        let mut bytes = [0; 64];
        file.read_exact_at(&mut bytes, 0).ok()?;
        // ELF, 64 bits, of this machine's byte order (elf(5)).
        let order = if cfg!(target_endian = "little") { 1 } else { 2 };
        if !bytes.starts_with(&[0x7f, b'E', b'L', b'F', 2, order]) {
            return None;
        }
        let (table, size, count) = (long(&bytes, 32)?, u64::from(short(&bytes, 54)?), short(&bytes, 56)?);
        let mut head = Self::default();
        for index in 0..u64::from(count).min(MAX_HEADERS) {
            let mut header = [0; 56];
            file.read_exact_at(&mut header, table.checked_add(index * size)?).ok()?;
            let (offset, address, length) = (long(&header, 8)?, long(&header, 16)?, long(&header, 32)?);
            match header.first() {
                Some(1) => head.loaded.push((offset, length, address)),
                Some(4) if head.build_id.is_none() => {
                    let mut notes = vec![0; usize::try_from(length.min(MAX_NOTES)).ok()?];
                    if file.read_exact_at(&mut notes, offset).is_ok() {
                        head.build_id = build_id(&notes);
                    }
                }
                _ => {}
            }
        }
        Some(head)
    }

    fn address_of(&self, place: u64) -> Option<u64> {
        self.loaded.iter().find_map(|(offset, length, address)| {
            let within = place.checked_sub(*offset).filter(|within| within < length)?;
            address.checked_add(within)
        })
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The note of type 3 of `GNU`, among these.
fn build_id(mut notes: &[u8]) -> Option<String> {
    loop {
        let (name, length, kind) = (word(notes, 0)?, word(notes, 4)?, word(notes, 8)?);
        let begin = 12_usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let id = notes.get(begin..begin.checked_add(length)?)?;
        if kind == 3 && notes.get(12..)?.starts_with(b"GNU\0") {
            let mut text = String::new();
            for byte in id {
                // Writing into memory does not fail.
                let _ = write!(text, "{byte:02x}");
            }
            return Some(text);
        }
        notes = notes.get(begin.checked_add(length.checked_next_multiple_of(4)?)?..)?;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_of_this_process_is_in_its_program() {
        let address = places as *const () as u64;
        let place = places(Path::new("/proc"), std::process::id(), &[address, 0x10]).unwrap();
        let found = place[0].as_ref().unwrap();
        assert_eq!(found.module, std::env::current_exe().unwrap());
        assert!(found.address != address && found.address != 0, "{found:?}");
        assert_eq!(place[1], None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_notes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            build_id(&bytes);
        }
    }
}
