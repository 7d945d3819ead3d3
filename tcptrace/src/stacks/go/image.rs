//! The parts of an ELF file that lead to Go's line table: segments, and the sections that hold or hint at it.
//! 64 bits, little endian. Knows nothing of what is in the table but how it begins.

use super::{
    bytes::Bytes,
    table::{Header, MAGICS},
};

/// Most segments and sections looked at. Files have some ten and some forty; `-ffunction-sections` stays in objects.
const MAX_HEADERS: u64 = 512;
/// Most bytes searched for the table where no section says where it is.
const MAX_SEARCHED: u64 = 512 * 1024 * 1024;
const SEARCH_CHUNK: usize = 1024 * 1024;
/// Most places tried that begin as a table does.
const MAX_CANDIDATES: usize = 1024;

const PT_LOAD: u32 = 1;
const EXECUTABLE: u32 = 1;
const WRITABLE: u32 = 2;

/// A loaded part of the file.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    flags: u32,
    pub(super) offset: u64,
    pub(super) address: u64,
    /// In the file.
    pub(super) size: u64,
}

impl Segment {
    pub(super) fn is_executable(&self) -> bool {
        self.flags & EXECUTABLE != 0
    }

    pub(super) fn is_writable(&self) -> bool {
        self.flags & WRITABLE != 0
    }

    pub(super) fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|distance| distance < self.size)
    }
}

/// Where the file's parts are loaded.
#[derive(Clone)]
pub(super) struct Segments(Vec<Segment>);

impl Segments {
    pub(super) fn read<B: Bytes + ?Sized>(file: &B) -> Option<Self> {
        // \x7fELF, 64 bits, little endian (include/uapi/linux/elf.h).
        file.read::<6>(0).filter(|start| start == b"\x7fELF\x02\x01")?;
        let table = file.u64(32)?;
        let (size, count) = (half(file, 54)?, half(file, 56)?.min(MAX_HEADERS));
        let segment = |index: u64| {
            let at = table.checked_add(index.checked_mul(size)?)?;
            let flags = file.u32(at.checked_add(4)?)?;
            let mut fields = [8, 16, 32].into_iter().map(|field| file.u64(at.checked_add(field)?));
            let mut field = || fields.next().flatten();
            let segment = Segment { flags, offset: field()?, address: field()?, size: field()? };
            (file.u32(at)? == PT_LOAD).then_some(segment)
        };
        Some(Self((0..count).filter_map(segment).collect()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.0.iter()
    }

    /// The address of code at this offset of the file.
    pub(super) fn address_of_code(&self, offset: u64) -> Option<u64> {
        let distance = |segment: &Segment| offset.checked_sub(segment.offset).filter(|d| *d < segment.size);
        let mut code = self.iter().filter(|segment| segment.is_executable());
        code.find_map(|segment| segment.address.checked_add(distance(segment)?))
    }

    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        let segment = self.iter().find(|segment| segment.holds(address))?;
        segment.offset.checked_add(address - segment.address)
    }

    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        let distance = |segment: &Segment| offset.checked_sub(segment.offset).filter(|d| *d < segment.size);
        self.iter().find_map(|segment| segment.address.checked_add(distance(segment)?))
    }
}

/// What there is of Go in a file, by offset.
pub(super) struct Found {
    pub(super) table: u64,
    /// `.go.buildinfo`.
    pub(super) build: Option<u64>,
}

pub(super) fn find<B: Bytes + ?Sized>(file: &B, segments: &Segments) -> Option<Found> {
    let (mut table, mut build) = (None, None);
    let (mut is_go, mut has_sections) = (false, false);
    for (name, offset) in named_sections(file) {
        has_sections = true;
        match name.as_str() {
            ".gopclntab" | ".data.rel.ro.gopclntab" => table = table.or(Some(offset)),
            ".go.buildinfo" => build = Some(offset),
            ".note.go.buildid" => is_go = true,
            _ => {}
        }
    }
    let table = table.filter(|table| Header::read(file, *table).is_some());
    // With PIE, the system's linker merges the table into .data.rel.ro. And all names of sections may be stripped.
    let is_searched = is_go || build.is_some() || !has_sections;
    let table = table.or_else(|| is_searched.then(|| search(file, segments))?)?;
    Some(Found { table, build })
}

/// The names of the sections, and where they are in the file.
fn named_sections<B: Bytes + ?Sized>(file: &B) -> impl Iterator<Item = (String, u64)> {
    /// Longer than the names that are looked for.
    const MAX_NAME: usize = 32;
    let header = || Some((file.u64(40)?, half(file, 58)?, half(file, 60)?, half(file, 62)?));
    let (table, size, count, names) = header().unwrap_or_default();
    let section = move |index: u64| table.checked_add(index.checked_mul(size)?);
    let names = section(names).and_then(|at| file.u64(at.checked_add(24)?));
    (1..count.min(MAX_HEADERS)).map_while(move |index| {
        let at = section(index)?;
        let name = names?.checked_add(file.u32(at)?.into())?;
        Some((file.text(name, MAX_NAME).unwrap_or_default(), file.u64(at.checked_add(24)?)?))
    })
}

/// Looks for the beginning of a table in what is loaded. Constants may be in one segment with the code.
fn search<B: Bytes + ?Sized>(file: &B, segments: &Segments) -> Option<u64> {
    let (mut left, mut candidates) = (MAX_SEARCHED, MAX_CANDIDATES);
    let mut chunk = vec![0; SEARCH_CHUNK];
    for segment in segments.iter() {
        let Some(mut at) = segment.offset.checked_next_multiple_of(8) else { continue };
        let end = segment.offset.saturating_add(segment.size);
        while at < end && left > 0 {
            let filled = file.read_some(at, &mut chunk);
            for (index, word) in chunk[..filled].chunks_exact(8).enumerate() {
                let Some(start) = word.first_chunk::<4>() else { continue };
                if candidates > 0 && MAGICS.contains(&u32::from_le_bytes(*start)) {
                    candidates -= 1;
                    let offset = at.saturating_add(index as u64 * 8);
                    if Header::read(file, offset).is_some() {
                        return Some(offset);
                    }
                }
            }
            if filled < chunk.len() {
                break;
            }
            at = at.saturating_add(filled as u64);
            left = left.saturating_sub(filled as u64);
        }
    }
    None
}

fn half<B: Bytes + ?Sized>(file: &B, offset: u64) -> Option<u64> {
    file.read(offset).map(u16::from_le_bytes).map(u64::from)
}
