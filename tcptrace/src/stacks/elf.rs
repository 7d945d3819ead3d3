//! Reads ELF files of 64 bits that nobody vouches for: bounded, whatever they claim. Says where parts are and what is in
//! them; what that means is told elsewhere.

use std::{cell::Cell, fs::File, ops::Range};

use object::{
    Endianness,
    elf::{self, Dyn64, FileHeader64, ProgramHeader64, Sym64},
    pod,
    read::{
        ReadCache, ReadRef,
        elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _, SectionTable, Sym as _},
    },
};

/// Most bytes of one part of a file; the unwind information of a browser has ten million.
const MOST_BYTES: u64 = 16 << 20;

/// Most bytes that are read of a file in all.
const MOST_IN_ALL: u64 = 4 * MOST_BYTES;

/// What reading a name may take (`read_bytes_at_until` of `ReadCache`). A file may have any number of names.
const BYTES_OF_NAME: u64 = 4_096;

/// A file of which so much is read, and no more.
pub(super) struct BoundedFile {
    cache: ReadCache<File>,
    left: Cell<u64>,
}

impl BoundedFile {
    pub(super) fn new(file: File) -> Self {
        Self { cache: ReadCache::new(file), left: Cell::new(MOST_IN_ALL) }
    }

    /// Fails before memory is taken for the bytes.
    fn take(&self, size: u64) -> Result<(), ()> {
        let left = self.left.get().checked_sub(size).filter(|_| size <= MOST_BYTES).ok_or(())?;
        self.left.set(left);
        Ok(())
    }
}

impl<'a> ReadRef<'a> for &'a BoundedFile {
    fn len(self) -> Result<u64, ()> {
        (&self.cache).len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.take(size)?;
        (&self.cache).read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.take(BYTES_OF_NAME)?;
        (&self.cache).read_bytes_at_until(range, delimiter)
    }
}

/// A part of a file that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) in_file: Range<u64>,
    /// The address that the file says.
    pub(super) address: u64,
}

/// What a process adds to the addresses that a file says, where it has mapped `mapped` of the file at `start`.
pub(super) fn bias(segments: &[Segment], mapped: &Range<u64>, start: u64) -> Option<u64> {
    // A mapping begins at a page, its segment anywhere in that.
    let overlap = |file: &Range<u64>| file.end.min(mapped.end).saturating_sub(file.start.max(mapped.start));
    let segment = segments.iter().max_by_key(|segment| overlap(&segment.in_file));
    let Segment { in_file, address } = segment.filter(|segment| overlap(&segment.in_file) > 0)?;
    Some(start.wrapping_sub(address.wrapping_add(mapped.start).wrapping_sub(in_file.start)))
}

/// An ELF file.
pub(super) struct Elf<'a> {
    file: &'a BoundedFile,
    endian: Endianness,
    machine: u16,
    headers: &'a [ProgramHeader64<Endianness>],
    /// `None` where they make no sense: a program runs without.
    sections: Option<SectionTable<'a, FileHeader64<Endianness>, &'a BoundedFile>>,
}

impl<'a> Elf<'a> {
    /// Reads its head; `None` of what is no ELF file. Symbols, which may be many, are left alone.
    pub(super) fn read(file: &'a BoundedFile) -> Option<Self> {
        let header = FileHeader64::parse(file).ok()?;
        let endian = header.endian().ok()?;
        let headers = header.program_headers(endian, file).ok()?;
        let machine = header.e_machine(endian);
        Some(Self { file, endian, machine, headers, sections: header.sections(endian, file).ok() })
    }

    /// Whether its machine code is of aarch64.
    pub(super) fn is_aarch64(&self) -> bool {
        self.machine == elf::EM_AARCH64
    }

    /// Its parts that are loaded.
    pub(super) fn segments(&self) -> impl Iterator<Item = Segment> {
        let loaded = self.headers.iter().filter(|header| header.p_type(self.endian) == elf::PT_LOAD);
        loaded.map(|header| {
            let (offset, length) = header.file_range(self.endian);
            Segment { in_file: offset..offset.saturating_add(length), address: header.p_vaddr(self.endian) }
        })
    }

    /// The addresses of a section, by its name.
    pub(super) fn addresses(&self, section: &str) -> Option<Range<u64>> {
        let (_, header) = self.sections.as_ref()?.section_by_name(self.endian, section.as_bytes())?;
        let start = header.sh_addr(self.endian);
        Some(start..start.checked_add(header.sh_size(self.endian))?)
    }

    /// Whether there is a section of this name that has bytes in the file.
    pub(super) fn has_section(&self, section: &str) -> bool {
        let found = self
            .sections
            .as_ref()
            .and_then(|sections| sections.section_by_name(self.endian, section.as_bytes()));
        found.is_some_and(|(_, header)| {
            header.sh_type(self.endian) != elf::SHT_NOBITS && header.sh_size(self.endian) > 0
        })
    }

    /// The bytes of a section, by its name; `None` where they are compressed.
    pub(super) fn data(&self, section: &str) -> Option<&'a [u8]> {
        let (_, header) = self.sections.as_ref()?.section_by_name(self.endian, section.as_bytes())?;
        let is_plain = header.compression(self.endian, self.file).ok()?.is_none();
        header.data(self.endian, self.file).ok().filter(|_| is_plain)
    }

    /// The exported function that begins last at or before an address, unless that is too far to say anything of it.
    pub(super) fn exported_before(&self, address: u64) -> Option<String> {
        const NEAR: u64 = 64 << 10;
        let (symbols, texts) = self.dynamic_symbols()?;
        let is_near = |symbol: &&Sym64<Endianness>| {
            let distance = address.checked_sub(symbol.st_value(self.endian));
            symbol.st_type() == elf::STT_FUNC && distance.is_some_and(|distance| distance < NEAR)
        };
        let last = symbols.filter(is_near).max_by_key(|symbol| symbol.st_value(self.endian))?;
        Some(String::from_utf8_lossy(text(texts, last.st_name(self.endian))?).into_owned())
    }

    /// Whether the name of a function that it exports, or needs of others, begins with one of these; `None` where it is linked
    /// with nothing.
    pub(super) fn mentions(&self, beginnings: &[&str]) -> Option<bool> {
        let texts = self.data(".dynstr")?;
        let begins = |name: &[u8]| beginnings.iter().any(|wanted| name.starts_with(wanted.as_bytes()));
        Some(texts.split(|byte| *byte == 0).any(begins))
    }

    /// What it defines for others, and the texts that their names are in.
    fn dynamic_symbols(&self) -> Option<(impl Iterator<Item = &'a Sym64<Endianness>>, &'a [u8])> {
        let (symbols, texts) = (self.data(".dynsym")?, self.data(".dynstr")?);
        let count = symbols.len() / size_of::<Sym64<Endianness>>();
        let (symbols, _) = pod::slice_from_bytes::<Sym64<Endianness>>(symbols, count).ok()?;
        let endian = self.endian;
        Some((symbols.iter().filter(move |symbol| !symbol.is_undefined(endian)), texts))
    }

    /// The bytes at an address; `None` where the file has none.
    pub(super) fn at(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        let place = |segment: Segment| {
            let offset = segment.in_file.start.checked_add(address.checked_sub(segment.address)?)?;
            (offset.checked_add(size)? <= segment.in_file.end).then_some(offset)
        };
        self.file.read_bytes_at(self.segments().find_map(place)?, size).ok()
    }

    /// The addresses of its executable segment.
    pub(super) fn machine_code(&self) -> Option<Range<u64>> {
        let is_code = |header: &&ProgramHeader64<Endianness>| {
            header.p_type(self.endian) == elf::PT_LOAD && header.p_flags(self.endian) & elf::PF_X != 0
        };
        let header = self.headers.iter().find(is_code)?;
        let start = header.p_vaddr(self.endian);
        Some(start..start.checked_add(header.p_memsz(self.endian))?)
    }

    /// The addresses of names that it exports, in order.
    pub(super) fn exported<const N: usize>(&self, names: [&str; N]) -> Option<[Option<u64>; N]> {
        let (symbols, texts) = self.dynamic_symbols()?;
        let mut found = [None; N];
        for symbol in symbols {
            let name = text(texts, symbol.st_name(self.endian));
            if let Some(nth) = names.iter().position(|wanted| name == Some(wanted.as_bytes())) {
                found[nth] = Some(symbol.st_value(self.endian));
            }
        }
        Some(found)
    }

    /// The addresses of a function, or of a variable, that it exports.
    pub(super) fn exported_range(&self, name: &str) -> Option<Range<u64>> {
        let (mut symbols, texts) = self.dynamic_symbols()?;
        let is_it =
            |symbol: &&Sym64<Endianness>| text(texts, symbol.st_name(self.endian)) == Some(name.as_bytes());
        let symbol = symbols.find(is_it)?;
        let start = symbol.st_value(self.endian);
        Some(start..start.checked_add(symbol.st_size(self.endian))?)
    }

    /// The names of the libraries that it is linked with.
    pub(super) fn needs(&self) -> Option<impl Iterator<Item = &'a [u8]>> {
        let (entries, texts) = (self.data(".dynamic")?, self.data(".dynstr")?);
        let count = entries.len() / size_of::<Dyn64<Endianness>>();
        let (entries, _) = pod::slice_from_bytes::<Dyn64<Endianness>>(entries, count).ok()?;
        let endian = self.endian;
        Some(entries.iter().filter_map(move |entry| {
            let at = u32::try_from(entry.d_val(endian)).ok();
            text(texts, at.filter(|_| entry.d_tag(endian) == elf::DT_NEEDED)?)
        }))
    }

    /// What the linker tells this build by from others.
    pub(super) fn build_id(&self) -> Option<&'a [u8]> {
        self.headers.iter().find_map(|header| {
            let mut notes = header.notes(self.endian, self.file).ok()??;
            while let Some(note) = notes.next().ok()? {
                if note.name() == elf::ELF_NOTE_GNU && note.n_type(self.endian) == elf::NT_GNU_BUILD_ID {
                    return Some(note.desc());
                }
            }
            None
        })
    }
}

/// The text up to the next zero byte.
fn text(texts: &[u8], at: u32) -> Option<&[u8]> {
    let rest = texts.get(usize::try_from(at).ok()?..)?;
    rest.get(..rest.iter().position(|byte| *byte == 0)?)
}

/// For the fuzz targets: reads every part of a file, and returns how many bytes that took; `None` of what is no ELF file.
#[must_use]
pub fn read_all(file: File, address: u64) -> Option<u64> {
    let file = BoundedFile::new(file);
    let elf = Elf::read(&file)?;
    elf.segments().count();
    elf.data(".eh_frame");
    elf.addresses(".text");
    elf.machine_code();
    elf.at(address, 16);
    elf.exported(["main"]);
    elf.exported_before(address);
    elf.build_id();
    elf.needs().map(Iterator::count);
    Some(MOST_IN_ALL - file.left.get())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// A file that consists of a head with these numbers and, behind it, one section with this number.
    fn with_head(numbers: &[(u64, &[u8])], (offset, number): (u64, u64)) -> BoundedFile {
        const SECTION: u64 = 64;
        let file = tempfile::tempfile().unwrap();
        // 64 bits, little endian, version 1; lengths of headers; the section with the names (elf(5)).
        let sizes: [(u64, &[u8]); 5] = [
            (0, b"\x7fELF\x02\x01\x01"),
            (40, &SECTION.to_le_bytes()),
            (54, &56_u16.to_le_bytes()),
            (58, &64_u16.to_le_bytes()),
            (62, &1_u16.to_le_bytes()),
        ];
        for (offset, bytes) in sizes.iter().chain(numbers) {
            file.write_all_at(bytes, *offset).unwrap();
        }
        file.write_all_at(&number.to_le_bytes(), SECTION + offset).unwrap();
        // Without blocks: a user may make one of any length.
        file.set_len(1 << 40).unwrap();
        BoundedFile::new(file)
    }

    #[test]
    fn this_program_has_parts() {
        let file = BoundedFile::new(File::open("/proc/self/exe").unwrap());
        let elf = Elf::read(&file).unwrap();
        assert!(elf.segments().count() > 0);
        let name = ".eh_frame_hdr";
        let table = elf.addresses(name).unwrap();
        assert_eq!(elf.data(name).map(|data| data.len() as u64), Some(table.end - table.start));
        assert!(elf.data(".no-such-section").is_none());
    }

    #[test]
    fn what_a_library_exports_has_an_address_and_what_it_needs_has_a_name() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = maps.split_ascii_whitespace().find(|word| word.ends_with("/libc.so.6")).unwrap();
        let file = BoundedFile::new(File::open(libc).unwrap());
        let elf = Elf::read(&file).unwrap();
        let [connect, nothing, stdout] = elf.exported(["connect", "no_such_name", "stdout"]).unwrap();
        assert!(elf.machine_code().unwrap().contains(&connect.unwrap()));
        assert_eq!(nothing, None);
        let function = elf.exported_range("connect").unwrap();
        assert!(Some(function.start) == connect && function.end > function.start);
        assert_eq!(elf.exported_range("no_such_name"), None);
        assert!(elf.at(stdout.unwrap(), 8).is_some());
        assert!(elf.at(u64::MAX - 4, 8).is_none());
        assert!(elf.needs().unwrap().any(|name| name.starts_with(b"ld-linux")));
    }

    #[test]
    fn no_number_of_sections_takes_memory() {
        // `sh_size` of the first section is their number where `e_shnum` is 0.
        let with = |sections: u64| with_head(&[], (32, sections));
        assert!(Elf::read(&with(MOST_BYTES / 64)).unwrap().sections.is_some());
        assert!(Elf::read(&with(MOST_BYTES / 64 + 1)).unwrap().sections.is_none());
    }

    #[test]
    fn no_number_of_segments_takes_memory() {
        // `sh_info` of the first section is their number where `e_phnum` is 0xffff.
        let numbers: [(u64, &[u8]); 2] = [(32, &4096_u64.to_le_bytes()), (56, &[0xff, 0xff])];
        let with = |segments: u64| with_head(&numbers, (44, segments));
        assert!(Elf::read(&with(MOST_BYTES / 56)).is_some());
        assert!(Elf::read(&with(MOST_BYTES / 56 + 1)).is_none());
    }

    #[test]
    fn all_that_is_read_of_a_file_is_bounded() {
        let file = with_head(&[], (0, 0));
        let part = |index: &u64| (&file).read_bytes_at(index * MOST_BYTES, MOST_BYTES).is_ok();
        assert!((&file).read_bytes_at(0, MOST_BYTES + 1).is_err());
        assert_eq!((0..6).filter(part).count(), 4);
        assert!((&file).read_bytes_at_until(0..9, 0).is_err(), "nothing is left");
    }
}
