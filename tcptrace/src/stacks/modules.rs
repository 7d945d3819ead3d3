//! Which file an address lies in, and where in it: for code that has no name.

use std::fmt::Write as _;

use super::{
    binary::Binary,
    elf::{BoundedFile, Elf},
    mapped_code::MappedCode,
    mappings::Mapping,
};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) module: Binary,
    /// As the file's own tools count (`addr2line -e`); the offset in the file where its head makes no sense.
    pub(super) address: u64,
    /// In hexadecimal.
    pub(super) build_id: Option<String>,
    /// The exported function that begins last before the address, and most likely ends before it.
    pub(super) exported_before: Option<String>,
}

/// The files that these addresses lie in, in order; `None` for what is in none.
pub(super) fn places(code: &MappedCode, addresses: &[u64]) -> Vec<Option<Place>> {
    let mut places = vec![None; addresses.len()];
    for mapping in &code.mappings {
        let is_within = |(address, _): &(&u64, _)| mapping.addresses.contains(address);
        let mut within = addresses.iter().zip(&mut places).filter(is_within).peekable();
        if within.peek().is_none() {
            continue;
        }
        let Some(module) = code.binary(mapping) else { continue };
        let file = code.open(mapping).ok().map(|(_, file)| BoundedFile::new(file));
        let elf = file.as_ref().and_then(Elf::read);
        for (address, place) in within {
            let stated = elf.as_ref().and_then(|elf| stated(elf, mapping, *address));
            *place = Some(Place {
                module: module.clone(),
                address: stated.or_else(|| mapping.offset_of(*address)).unwrap_or(*address),
                build_id: elf.as_ref().and_then(Elf::build_id).map(hexadecimal),
                exported_before: elf.as_ref().zip(stated).and_then(|(elf, at)| elf.exported_before(at)),
            });
        }
    }
    places
}

/// The address that the file says.
pub(super) fn stated(elf: &Elf<'_>, mapping: &Mapping, address: u64) -> Option<u64> {
    let offset = mapping.offset_of(address)?;
    let segment = elf.segments().find(|segment| segment.in_file.contains(&offset))?;
    segment.address.checked_add(offset - segment.in_file.start)
}

/// Two digits a byte.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into memory does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::stacks::mapped_code::KnownTraits;

    #[test]
    fn an_address_of_this_process_is_in_its_program() {
        let address = places as *const () as u64;
        let mut code = MappedCode::at(Path::new("/proc"), std::process::id(), &[address, 0x10]).unwrap();
        code.identify(&mut KnownTraits::default());
        let place = places(&code, &[address, 0x10]);
        let found = place[0].as_ref().unwrap();
        assert_eq!(found.module.path, std::env::current_exe().unwrap());
        assert!(found.address != address && found.address != 0, "{found:?}");
        assert_eq!(place[1], None);
    }

    #[test]
    fn a_build_is_told_by_two_digits_a_byte() {
        assert_eq!(hexadecimal(&[0x0a, 0xff, 0]), "0aff00");
    }
}
