//! Lists what is in an archive (jar, war, zip), and in those that lie in it unpacked, by its central directory (APPNOTE.TXT of
//! PKWARE, 4.3). The file is a stranger's: bounded in bytes. Unpacks nothing.

use std::{fs::File, os::unix::fs::FileExt as _};

/// Bytes of an end of central directory, and of the longest comment behind it.
const END: usize = 22;
const MAX_COMMENT: usize = 65_535;

/// Bytes of the fixed part of an entry, and of the head before its data.
const ENTRY: usize = 46;
const LOCAL: usize = 30;

/// Most bytes of one central directory; one of 100,000 classes has ten million.
const MAX_DIRECTORY: u64 = 16 << 20;

/// What may still be read, in bytes.
#[derive(Debug)]
pub(super) struct Budget(pub(super) u64);

impl Budget {
    fn read(&mut self, file: &File, at: u64, length: u64) -> Option<Vec<u8>> {
        self.0 = self.0.checked_sub(length)?;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }
}

/// Where an archive lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) length: u64,
}

/// A thing in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    /// Where its head is, if it is not packed.
    stored: Option<Place>,
}

/// A list of what is in an archive.
pub(super) struct Directory {
    bytes: Vec<u8>,
    /// How far the archive is from where it believes itself to be: a script may be before it.
    shift: u64,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(N)?)?;
    Some(part.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

impl Directory {
    /// Reads it; `None` of what is no archive, or one of more than 4 GiB.
    pub(super) fn read(file: &File, place: Place, budget: &mut Budget) -> Option<Self> {
        let length = place.length.min((END + MAX_COMMENT) as u64);
        // Most have no comment.
        for length in [(END as u64).min(length), length] {
            let tail_at = place.start.checked_add(place.length.checked_sub(length)?)?;
            let tail = budget.read(file, tail_at, length)?;
            let Some(end) = tail.windows(4).rposition(|window| window == b"PK\x05\x06") else { continue };
            let end_bytes = tail.get(end..)?;
            let (size, offset) = (number::<4>(end_bytes, 12)?, number::<4>(end_bytes, 16)?);
            let start = tail_at.checked_add(end as u64)?.checked_sub(size)?;
            if size > MAX_DIRECTORY || start < place.start {
                return None;
            }
            let shift = start.checked_sub(offset)?;
            return Some(Self { bytes: budget.read(file, start, size)?, shift });
        }
        None
    }

    /// What is in it, up to what makes no sense.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let entry = self.bytes.get(at..)?;
            entry.starts_with(b"PK\x01\x02").then_some(())?;
            let method = number::<2>(entry, 10)?;
            let (packed, size) = (number::<4>(entry, 20)?, number::<4>(entry, 24)?);
            let lengths =
                [28, 30, 32].map(|at| number::<2>(entry, at).and_then(|length| usize::try_from(length).ok()));
            let [name, extra, comment] = lengths;
            let offset = number::<4>(entry, 42)?;
            let name_end = ENTRY.checked_add(name?)?;
            let name = std::str::from_utf8(entry.get(ENTRY..name_end)?).unwrap_or_default();
            at = at.checked_add(name_end)?.checked_add(extra?)?.checked_add(comment?)?;
            let is_stored = method == 0 && packed == size;
            let start = self.shift.checked_add(offset).filter(|_| is_stored);
            Some(Entry { name, stored: start.map(|start| Place { start, length: size }) })
        })
    }
}

impl Entry<'_> {
    /// Where its bytes are; `None` if they are packed.
    pub(super) fn place(&self, file: &File, budget: &mut Budget) -> Option<Place> {
        let Place { start, length } = self.stored?;
        let head = budget.read(file, start, LOCAL as u64)?;
        head.starts_with(b"PK\x03\x04").then_some(())?;
        let (name, extra) = (number::<2>(&head, 26)?, number::<2>(&head, 28)?);
        Some(Place { start: start.checked_add(LOCAL as u64 + name + extra)?, length })
    }
}

/// Writes archives for tests.
#[cfg(test)]
pub(super) mod written {
    /// An archive of these things, none of them packed.
    pub(in crate::stacks) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, data) in entries {
            let short = |length: usize| u16::try_from(length).unwrap_or_default().to_le_bytes();
            let long = |length: usize| u32::try_from(length).unwrap_or_default().to_le_bytes();
            let at = bytes.len();
            bytes.extend(b"PK\x03\x04\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0");
            bytes.extend([long(data.len()), long(data.len())].concat());
            bytes.extend([short(name.len()), short(0)].concat());
            bytes.extend(name.as_bytes().iter().chain(*data));
            directory.extend(b"PK\x01\x02\x0a\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0");
            directory.extend([long(data.len()), long(data.len())].concat());
            directory.extend(
                [short(name.len()), short(0), short(0), short(0), short(0), short(0), short(0)].concat(),
            );
            directory.extend(long(at));
            directory.extend(name.as_bytes());
        }
        let (at, size) = (bytes.len(), directory.len());
        bytes.extend(directory);
        bytes.extend(b"PK\x05\x06\0\0\0\0\0\0\0\0");
        bytes.extend(
            [u32::try_from(size), u32::try_from(at)]
                .map(Result::unwrap_or_default)
                .map(u32::to_le_bytes)
                .concat(),
        );
        bytes.extend([0, 0]);
        bytes
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::{written::archive, *};

    fn file(bytes: &[u8]) -> (File, Place) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        (file, Place { start: 0, length: bytes.len() as u64 })
    }

    fn names(file: &File, place: Place) -> Vec<String> {
        let directory = Directory::read(file, place, &mut Budget(1 << 20)).unwrap();
        directory.entries().map(|entry| entry.name.to_owned()).collect()
    }

    #[test]
    fn an_archive_in_an_archive_behind_a_script_is_listed() {
        let inner = archive(&[("org/x/A.class", b"aa"), ("org/x/B.class", b"")]);
        let outer = archive(&[("com/acme/Shop.class", b"s"), ("BOOT-INF/lib/x.jar", &inner)]);
        let (file, place) = file(&[b"#!/bin/sh\n", &outer[..], b""].concat());
        assert_eq!(names(&file, place), ["com/acme/Shop.class", "BOOT-INF/lib/x.jar"]);
        let mut budget = Budget(1 << 20);
        let directory = Directory::read(&file, place, &mut budget).unwrap();
        let within = directory.entries().nth(1).unwrap().place(&file, &mut budget).unwrap();
        assert_eq!(names(&file, within), ["org/x/A.class", "org/x/B.class"]);
    }

    #[test]
    fn reading_is_bounded() {
        let (file, place) = file(&archive(&[("A.class", b"")]));
        assert!(Directory::read(&file, place, &mut Budget(60)).is_none());
        assert!(Directory::read(&file, Place { start: 0, length: 0 }, &mut Budget(1 << 20)).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_have_an_end(damage in prop::collection::vec((0_usize..200, any::<u8>()), 0..20)) {
            let mut bytes = archive(&[("a/A.class", b"a"), ("b.jar", b"")]);
            for (at, byte) in damage {
                if let Some(there) = bytes.get_mut(at) {
                    *there = byte;
                }
            }
            let (file, place) = file(&bytes);
            let mut budget = Budget(1 << 20);
            if let Some(directory) = Directory::read(&file, place, &mut budget) {
                for entry in directory.entries() {
                    entry.place(&file, &mut budget);
                }
            }
        }
    }
}
