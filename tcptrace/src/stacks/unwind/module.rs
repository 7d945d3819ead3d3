//! The unwind information of a file that a process has mapped. The file is a stranger's: every read is bounded, and any bytes
//! give an answer.

use std::{fs::File, ops::Range, sync::Arc};

use framehop::{ExplicitModuleSectionInfo, Module};

use super::bounded::{self, Covered, Places};
use crate::stacks::{
    elf::{BoundedFile, Elf, Segment, bias},
    hotspot::Exports,
    mappings::Mapping,
};

/// Bytes of a section, shared by all processes that have mapped the file.
pub(super) type Bytes = Arc<[u8]>;

/// What of a file is needed to unwind, at the addresses that the file says.
#[derive(Debug)]
pub(super) struct UnwindInfo {
    segments: Vec<Segment>,
    text: Option<Range<u64>>,
    got: Option<Range<u64>>,
    eh_frame: Option<(Range<u64>, Bytes)>,
    eh_frame_hdr: Option<(Range<u64>, Bytes)>,
    debug_frame: Option<Bytes>,
    /// The code that these are about.
    covered: [Covered; 2],
    /// Its functions keep frame pointers: they are Go's.
    pub(super) keeps_frame_pointers: bool,
    /// Of a Java VM.
    pub(super) hotspot: Option<Exports>,
}

impl UnwindInfo {
    /// Reads it; `None` of what is no ELF file. `may_be_hotspot` by its name.
    pub(super) fn read(file: File, may_be_hotspot: bool) -> Option<Self> {
        let file = BoundedFile::new(file);
        let elf = Elf::read(&file)?;
        let part = |name: &str| elf.addresses(name).zip(elf.data(name).map(Bytes::from));
        let info = Self {
            segments: elf.segments().collect(),
            text: elf.addresses(".text"),
            got: elf.addresses(".got"),
            eh_frame: part(".eh_frame"),
            eh_frame_hdr: part(".eh_frame_hdr"),
            debug_frame: elf.data(".debug_frame").map(Bytes::from),
            covered: Default::default(),
            keeps_frame_pointers: elf.addresses(".gopclntab").is_some()
                || elf.addresses(".data.rel.ro.gopclntab").is_some(),
            hotspot: if may_be_hotspot { Exports::read(&elf) } else { None },
        };
        Some(info.bounded())
    }

    /// The same without the sections by which unwinding might not come to an end.
    fn bounded(mut self) -> Self {
        let range = |part: &'_ Option<(Range<u64>, Bytes)>| part.as_ref().map(|(range, _)| range.clone());
        let (eh_frame, eh_frame_hdr) = (range(&self.eh_frame), range(&self.eh_frame_hdr));
        let places = Places {
            eh_frame: eh_frame.as_ref(),
            eh_frame_hdr: eh_frame_hdr.as_ref(),
            text: self.text.as_ref(),
            got: self.got.as_ref(),
        };
        let index = self.eh_frame_hdr.as_ref().map(|(_, bytes)| &**bytes);
        let of_eh_frame = |(_, bytes): &(_, Bytes)| bounded::of_eh_frame(bytes, index, places);
        let eh_frame = self.eh_frame.as_ref().and_then(of_eh_frame);
        let debug_frame = self.debug_frame.as_ref().and_then(|bytes| bounded::of_debug_frame(bytes, places));
        self.eh_frame = self.eh_frame.filter(|_| eh_frame.is_some());
        self.debug_frame = self.debug_frame.filter(|_| debug_frame.is_some());
        self.covered = [eh_frame, debug_frame].map(Option::unwrap_or_default);
        self
    }

    /// The module where a process has mapped the file.
    pub(super) fn mapped_at(&self, mapping: &Mapping) -> Option<Module<Bytes>> {
        let base = bias(&self.segments, &mapping.in_file(), mapping.addresses.start)?;
        let (eh_frame_svma, eh_frame) = self.eh_frame.clone().unzip();
        let (eh_frame_hdr_svma, eh_frame_hdr) = self.eh_frame_hdr.clone().unzip();
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: self.text.clone(),
            got_svma: self.got.clone(),
            eh_frame_svma,
            eh_frame,
            eh_frame_hdr_svma,
            eh_frame_hdr,
            debug_frame: self.debug_frame.clone(),
            ..ExplicitModuleSectionInfo::default()
        };
        Some(Module::new(String::new(), mapping.addresses.clone(), base, sections))
    }

    /// Whether it says how to unwind the function at an address that the file says.
    pub(super) fn describes(&self, address: u64) -> bool {
        self.covered.iter().any(|covered| covered.has(address))
    }

    /// What it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        let sections =
            [&self.eh_frame, &self.eh_frame_hdr].into_iter().flatten().map(|(_, bytes)| bytes.len());
        let covered = self.covered.iter().map(Covered::size);
        sections.chain(covered).sum::<usize>() + self.debug_frame.as_ref().map_or(0, |bytes| bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(segments: &[(Range<u64>, u64)]) -> UnwindInfo {
        let segment =
            |(in_file, address): &(Range<u64>, u64)| Segment { in_file: in_file.clone(), address: *address };
        UnwindInfo {
            segments: segments.iter().map(segment).collect(),
            text: None,
            got: None,
            eh_frame: None,
            eh_frame_hdr: None,
            debug_frame: None,
            covered: Default::default(),
            keeps_frame_pointers: false,
            hotspot: None,
        }
    }

    #[test]
    fn nothing_is_refused_of_what_compilers_write() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let paths = maps
            .lines()
            .filter(|line| line.contains(" r-xp "))
            .filter_map(|line| line.find('/').map(|at| &line[at..]));
        let mut count = 0;
        for path in paths {
            let Ok(file) = File::open(path) else { continue };
            let info = UnwindInfo::read(file, false);
            assert!(info.is_some_and(|info| info.eh_frame.is_some()), "{path}");
            count += 1;
        }
        assert!(count > 1, "the program and the C library");
    }

    #[test]
    fn a_segment_may_begin_in_the_middle_of_the_page_that_is_mapped() {
        let info = info(&[(0..0x1a_f2d0, 0), (0x1a_f2d0..0x40_0000, 0x1b_02d0)]);
        let mapping = Mapping { addresses: 0x5500_0000_0000..0x5500_0025_1000, offset: 0x1a_f000 };
        let base = info.mapped_at(&mapping).map(|module| module.base_avma());
        assert_eq!(base, Some(0x5500_0000_0000 - 0x1b_0000));
        let elsewhere = Mapping { offset: 0x90_0000, ..mapping };
        assert!(info.mapped_at(&elsewhere).is_none());
    }
}
