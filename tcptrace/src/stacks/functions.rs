//! Where the functions of a file begin and end, as its unwind information says (`.eh_frame`), whether it has symbols or not.
//! Names none.

use std::ops::Range;

use super::elf::Elf;

/// The functions of a file, at the addresses that it says, in order.
#[derive(Debug, Default)]
pub(super) struct Functions(Vec<Range<u64>>);

impl Functions {
    /// Those of a file; none where it does not say.
    pub(super) fn of(elf: &Elf<'_>) -> Self {
        let parts = elf.addresses(".eh_frame").zip(elf.data(".eh_frame"));
        let found = parts.zip(elf.machine_code()).map(|((place, bytes), code)| {
            let mut found: Vec<Range<u64>> =
                described(bytes, place.start).filter(|function| code.contains(&function.start)).collect();
            found.sort_unstable_by_key(|function| function.start);
            found
        });
        Self(found.unwrap_or_default())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The function in which an address lies.
    pub(super) fn at(&self, address: u64) -> Option<&Range<u64>> {
        let behind = self.0.partition_point(|function| function.start <= address);
        self.0.get(behind.checked_sub(1)?).filter(|function| function.contains(&address))
    }

    /// The function that begins at an address.
    pub(super) fn from(&self, start: u64) -> Option<&Range<u64>> {
        self.at(start).filter(|function| function.start == start)
    }
}

/// The functions that a section at this address describes. Compilers for Linux write where each begins as a distance of four
/// bytes, and how long it is in four bytes; what is written otherwise gives addresses without sense.
fn described(bytes: &[u8], address: u64) -> impl Iterator<Item = Range<u64>> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let mut next = 0_usize;
    // Length, the distance to what several have in common or 0 of that itself (Linux Standard Base, 10.6).
    let entries = std::iter::from_fn(move || {
        let at = next;
        let length = word(at).filter(|length| ![0, u32::MAX].contains(length))?;
        next = at.checked_add(4)?.checked_add(usize::try_from(length).ok()?)?;
        Some(at)
    });
    entries.filter_map(move |at| {
        let field = at.checked_add(8)?;
        let (distance, size) = (word(field)?, word(field.checked_add(4)?)?);
        let place = address.checked_add(u64::try_from(field).ok()?)?;
        let start = place.checked_add_signed(distance.cast_signed().into())?;
        let is_function = word(at + 4)? != 0 && size > 0;
        is_function.then(|| start..start.saturating_add(size.into()))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs::File;

    use proptest::prelude::*;

    use super::*;
    use crate::stacks::elf::BoundedFile;

    /// What functions have in common, and one function, of 0x40 bytes, that begins at 0x900, in a section at 0x1000.
    fn section() -> Vec<u8> {
        let words: [u32; 8] = [8, 0, 0x0001_0000, 12, 16, 0x900_u32.wrapping_sub(0x1014), 0x40, 0];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_function_is_where_its_description_says() {
        let found: Vec<_> = described(&section(), 0x1000).collect();
        assert_eq!(found, [Range { start: 0x900, end: 0x940 }]);
        let functions = Functions(vec![0x900..0x940, 0x950..0x960]);
        assert_eq!(functions.at(0x93f), Some(&(0x900..0x940)));
        assert_eq!((functions.at(0x940), functions.at(0x8ff)), (None, None), "none is described there");
        assert_eq!(functions.from(0x950), Some(&(0x950..0x960)));
        assert_eq!(functions.from(0x951), None);
    }

    #[test]
    fn this_program_has_functions() {
        let file = BoundedFile::new(File::open("/proc/self/exe").unwrap());
        let elf = Elf::read(&file).unwrap();
        assert!(Functions::of(&elf).0.len() > 1_000);
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>, address: u64, end in 0_usize..32) {
            prop_assert!(described(&bytes, address).count() <= bytes.len() / 4);
            prop_assert!(described(&section()[..end], address).count() <= 1);
        }
    }
}
