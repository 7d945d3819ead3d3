//! Whether unwinding by the information of a file comes to an end. That information is programs (DWARF 5, 6.4), and an
//! expression in it may branch backwards: gimli would run it for ever. No compiler writes a branch there, so a section with
//! one is refused as a whole, and so is one that takes much longer to read than it has bytes. Says which code a section covers.
//! Unwinds nothing.

use std::ops::Range;

use gimli::{
    BaseAddresses, CallFrameInstruction, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, EndianSlice,
    FrameDescriptionEntry, LittleEndian, Operation, UnwindExpression, UnwindSection,
};

/// Most bytes that say how to unwind one function: they are run anew for each of its frames.
const MAX_FUNCTION_BYTES: usize = 64 << 10;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Where sections are, at the addresses that the file says.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) eh_frame: Option<&'a Range<u64>>,
    pub(super) eh_frame_hdr: Option<&'a Range<u64>>,
    pub(super) text: Option<&'a Range<u64>>,
    pub(super) got: Option<&'a Range<u64>>,
}

impl Places<'_> {
    fn bases(self) -> BaseAddresses {
        let start = |range: Option<&Range<u64>>| range.map_or(0, |range| range.start);
        BaseAddresses::default()
            .set_eh_frame(start(self.eh_frame))
            .set_eh_frame_hdr(start(self.eh_frame_hdr))
            .set_text(start(self.text))
            .set_got(start(self.got))
    }
}

/// Code that a section says how to unwind, at the addresses that the file says, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Covered(Vec<Range<u64>>);

impl Covered {
    /// Functions stand at multiples of so many bytes: there is no code in a shorter gap.
    const ALIGNMENT: u64 = 16;

    fn of(mut functions: Vec<Range<u64>>) -> Self {
        functions.sort_unstable_by_key(|function| function.start);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for function in functions {
            match ranges.last_mut() {
                Some(last) if function.start < last.end.saturating_add(Self::ALIGNMENT) => {
                    last.end = last.end.max(function.end);
                }
                _ => ranges.push(function),
            }
        }
        ranges.shrink_to_fit();
        Self(ranges)
    }

    pub(super) fn has(&self, address: u64) -> bool {
        let behind = self.0.partition_point(|range| range.start <= address);
        let before = behind.checked_sub(1).and_then(|at| self.0.get(at));
        before.is_some_and(|range| address < range.end)
    }

    /// What it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of_val(self.0.as_slice())
    }
}

/// What `.eh_frame` covers, with the index that leads to its functions, if there is one; `None` where it is not bounded.
pub(super) fn of_eh_frame(bytes: &[u8], index: Option<&[u8]>, places: Places<'_>) -> Option<Covered> {
    let mut budget = Budget::of(bytes);
    is_eh_frame(bytes, index, places, &mut budget).then(|| Covered::of(budget.functions))
}

fn is_eh_frame(bytes: &[u8], index: Option<&[u8]>, places: Places<'_>, budget: &mut Budget) -> bool {
    let mut section = EhFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    let bases = places.bases();
    let Some(index) = index else { return budget.covers_all(&section, &bases) };
    let Ok(index) = EhFrameHdr::new(index, LittleEndian).parse(&bases, 8) else { return true };
    let Some(table) = index.table() else { return true };
    let mut entries = table.iter(&bases);
    loop {
        // What is no function is none to framehop either. It looks entries up by their number, so that one without sense does
        // not hide those behind it.
        let pointer = match entries.next() {
            Ok(Some((_, pointer))) => pointer,
            Ok(None) => return true,
            Err(_) => return false,
        };
        // Gimli subtracts without a check (`pointer_to_offset`).
        if pointer.pointer() < index.eh_frame_ptr().pointer() {
            return false;
        }
        let Ok(offset) = table.pointer_to_offset(pointer) else { continue };
        let Ok(function) = section.fde_from_offset(&bases, offset, EhFrame::cie_from_offset) else {
            // To find that out takes time, too.
            if !budget.take(1) {
                return false;
            }
            continue;
        };
        if !budget.covers(&function, &section, &bases) {
            return false;
        }
    }
}

/// As [`of_eh_frame`], of `.debug_frame`.
pub(super) fn of_debug_frame(bytes: &[u8], places: Places<'_>) -> Option<Covered> {
    let mut section = DebugFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    let mut budget = Budget::of(bytes);
    budget.covers_all(&section, &places.bases()).then(|| Covered::of(budget.functions))
}

/// What may still be read, and the functions that were. Functions do not overlap where a linker made them.
struct Budget {
    bytes: usize,
    functions: Vec<Range<u64>>,
}

impl Budget {
    fn of(section: &[u8]) -> Self {
        /// Functions share what they have in common, which is read for each, and is the shorter part.
        const MOST_READS: usize = 4;
        Self { bytes: section.len().saturating_mul(MOST_READS), functions: Vec::new() }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.unwrap_or(0);
        left.is_some()
    }

    fn covers_all<'a, S: UnwindSection<Reader<'a>>>(&mut self, section: &S, bases: &BaseAddresses) -> bool {
        let mut entries = section.entries(bases);
        loop {
            let function = match entries.next() {
                Ok(Some(CieOrFde::Fde(function))) => function.parse(S::cie_from_offset),
                Ok(Some(CieOrFde::Cie(_))) => continue,
                // Of what makes no sense framehop has no index.
                Ok(None) | Err(_) => return true,
            };
            let Ok(function) = function else { return true };
            if !self.covers(&function, section, bases) {
                return false;
            }
        }
    }

    /// Whether one function is bounded, and was not read too often.
    fn covers<'a, S: UnwindSection<Reader<'a>>>(
        &mut self,
        function: &FrameDescriptionEntry<Reader<'a>>,
        section: &S,
        bases: &BaseAddresses,
    ) -> bool {
        let common = function.cie();
        let bytes = function.entry_len().saturating_add(common.entry_len());
        if bytes > MAX_FUNCTION_BYTES || !self.take(bytes) {
            return false;
        }
        let start = function.initial_address();
        self.functions.push(start..start.saturating_add(function.len()));
        let encoding = common.encoding();
        let mut all = [common.instructions(section, bases), function.instructions(section, bases)];
        all.iter_mut().all(|instructions| {
            // Behind what makes no sense nothing is run.
            while let Ok(Some(instruction)) = instructions.next() {
                if expression(&instruction).is_some_and(|expression| branches(expression, section, encoding))
                {
                    return false;
                }
            }
            true
        })
    }
}

fn expression(instruction: &CallFrameInstruction<usize>) -> Option<&UnwindExpression<usize>> {
    match instruction {
        CallFrameInstruction::DefCfaExpression { expression }
        | CallFrameInstruction::Expression { expression, .. }
        | CallFrameInstruction::ValExpression { expression, .. } => Some(expression),
        _ => None,
    }
}

fn branches<'a, S: UnwindSection<Reader<'a>>>(
    expression: &UnwindExpression<usize>,
    section: &S,
    encoding: gimli::Encoding,
) -> bool {
    let Ok(expression) = expression.get(section) else { return false };
    let mut operations = expression.operations(encoding);
    while let Ok(Some(operation)) = operations.next() {
        if matches!(operation, Operation::Skip { .. } | Operation::Bra { .. }) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `DW_OP_breg7`, `DW_OP_deref`; `DW_OP_skip` and `DW_OP_bra` to themselves.
    const STRAIGHT: [u8; 3] = [0x77, 8, 0x06];
    const BRANCHES: [[u8; 3]; 2] = [[0x2f, 0xfd, 0xff], [0x28, 0xfd, 0xff]];

    const NOWHERE: Places<'_> = Places { eh_frame: None, eh_frame_hdr: None, text: None, got: None };

    fn is_bounded(bytes: &[u8], index: Option<&[u8]>, places: Places<'_>) -> bool {
        of_eh_frame(bytes, index, places).is_some()
    }

    fn counted(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap_or_default();
        [&length.to_le_bytes(), bytes].concat()
    }

    /// `.eh_frame` with one function that is unwound like this, and where that is.
    fn section(instructions: &[u8]) -> (Vec<u8>, u32) {
        // Version 1, "zR", code by 1, data by -8, return address 16, absolute addresses; rsp + 8.
        let common = counted(&[0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0, 0x0c, 7, 8]);
        let at = u32::try_from(common.len()).unwrap_or_default();
        let mut function = (at + 4).to_le_bytes().to_vec();
        function.extend([0x1000_u64.to_le_bytes(), 0x100_u64.to_le_bytes()].as_flattened());
        function.push(0);
        function.extend(instructions);
        ([common, counted(&function)].concat(), at)
    }

    /// `DW_CFA_def_cfa_expression`.
    fn expression(operations: &[u8]) -> Vec<u8> {
        [&[0x0f, u8::try_from(operations.len()).unwrap_or_default()], operations].concat()
    }

    /// `.eh_frame_hdr` that leads so often to a function.
    fn index(function: u32, count: u32) -> Vec<u8> {
        // Version 1, all numbers absolute and of four bytes.
        let mut index = vec![1, 3, 3, 3, 0, 0, 0, 0];
        index.extend(count.to_le_bytes());
        for nth in 0..count {
            index.extend([(0x1000 + nth).to_le_bytes(), function.to_le_bytes()].as_flattened());
        }
        index
    }

    #[test]
    fn an_expression_that_branches_is_refused_wherever_it_stands() {
        let (straight, at) = section(&expression(&STRAIGHT));
        assert!(is_bounded(&straight, None, NOWHERE));
        assert!(is_bounded(&straight, Some(&index(at, 1)), NOWHERE));
        for branch in BRANCHES {
            let of_cfa = expression(&branch);
            // Of a register: 6, which is rbp.
            let of_register = [&[0x10, 6, 3], &branch[..]].concat();
            let of_value = [&[0x16, 6, 3], &branch[..]].concat();
            for instructions in [of_cfa, of_register, of_value] {
                let (section, at) = section(&instructions);
                assert!(!is_bounded(&section, None, NOWHERE), "{instructions:x?}");
                assert!(!is_bounded(&section, Some(&index(at, 1)), NOWHERE), "{instructions:x?}");
            }
        }
    }

    #[test]
    fn what_a_section_covers_is_told_from_what_it_does_not() {
        let (section, at) = section(&[]);
        for index in [None, Some(index(at, 1))] {
            let covered = of_eh_frame(&section, index.as_deref(), NOWHERE).unwrap_or_default();
            let places = [0xfff, 0x1000, 0x10ff, 0x1100];
            assert_eq!(places.map(|place| covered.has(place)), [false, true, true, false]);
        }
        let covered = Covered::of(vec![0x30..0x40, 0..8, 0x10..0x11, 0x21..0x22]);
        assert_eq!(covered, Covered(vec![0..0x11, 0x21..0x40]), "padding is no code");
    }

    #[test]
    fn what_takes_longer_than_it_has_bytes_is_refused() {
        let (often, at) = section(&[]);
        assert!(is_bounded(&often, Some(&index(at, 2)), NOWHERE));
        assert!(!is_bounded(&often, Some(&index(at, 9)), NOWHERE));
        let (long, _) = section(&vec![0; MAX_FUNCTION_BYTES]);
        assert!(!is_bounded(&long, None, NOWHERE));
    }

    #[test]
    fn any_end_is_an_end() {
        let (section, at) = section(&expression(&STRAIGHT));
        let index = index(at, 2);
        for end in 0..section.len() {
            of_eh_frame(&section[..end], None, NOWHERE);
            of_eh_frame(&section[..end], Some(&index), NOWHERE);
            of_debug_frame(&section[..end], NOWHERE);
        }
        for end in 0..index.len() {
            of_eh_frame(&section, Some(&index[..end]), NOWHERE);
        }
    }
}
