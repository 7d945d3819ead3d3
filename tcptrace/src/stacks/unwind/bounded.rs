//! Whether unwinding by the information of a file comes to an end. That information is programs (DWARF 5, 6.4), and an
//! expression in it may branch backwards: gimli would run it for ever. No compiler writes a branch there, so a section with
//! one is refused as a whole, and so is one that takes much longer to read than it has bytes. Unwinds nothing.

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

/// Whether `.eh_frame` is bounded, with the index that leads to its functions, if there is one.
pub(super) fn is_eh_frame(bytes: &[u8], index: Option<&[u8]>, places: Places<'_>) -> bool {
    let mut section = EhFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    let (bases, mut budget) = (places.bases(), Budget::of(bytes));
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

/// Whether `.debug_frame` is bounded.
pub(super) fn is_debug_frame(bytes: &[u8], places: Places<'_>) -> bool {
    let mut section = DebugFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    Budget::of(bytes).covers_all(&section, &places.bases())
}

/// Bytes that may still be read. Functions do not overlap where a linker made them.
struct Budget(usize);

impl Budget {
    fn of(section: &[u8]) -> Self {
        /// Functions share what they have in common, which is read for each, and is the shorter part.
        const MOST_READS: usize = 4;
        Self(section.len().saturating_mul(MOST_READS))
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(0);
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
        assert!(is_eh_frame(&straight, None, NOWHERE));
        assert!(is_eh_frame(&straight, Some(&index(at, 1)), NOWHERE));
        for branch in BRANCHES {
            let of_cfa = expression(&branch);
            // Of a register: 6, which is rbp.
            let of_register = [&[0x10, 6, 3], &branch[..]].concat();
            let of_value = [&[0x16, 6, 3], &branch[..]].concat();
            for instructions in [of_cfa, of_register, of_value] {
                let (section, at) = section(&instructions);
                assert!(!is_eh_frame(&section, None, NOWHERE), "{instructions:x?}");
                assert!(!is_eh_frame(&section, Some(&index(at, 1)), NOWHERE), "{instructions:x?}");
            }
        }
    }

    #[test]
    fn what_takes_longer_than_it_has_bytes_is_refused() {
        let (often, at) = section(&[]);
        assert!(is_eh_frame(&often, Some(&index(at, 2)), NOWHERE));
        assert!(!is_eh_frame(&often, Some(&index(at, 9)), NOWHERE));
        let (long, _) = section(&vec![0; MAX_FUNCTION_BYTES]);
        assert!(!is_eh_frame(&long, None, NOWHERE));
    }

    #[test]
    fn any_end_is_an_end() {
        let (section, at) = section(&expression(&STRAIGHT));
        let index = index(at, 2);
        for end in 0..section.len() {
            is_eh_frame(&section[..end], None, NOWHERE);
            is_eh_frame(&section[..end], Some(&index), NOWHERE);
            is_debug_frame(&section[..end], NOWHERE);
        }
        for end in 0..index.len() {
            is_eh_frame(&section, Some(&index[..end]), NOWHERE);
        }
    }
}
