//! The lines of code at an address of a Go program, with the functions inlined there.

use super::{
    build::{Main, main_of},
    bytes::Bytes,
    image::{Found, Segments, find},
    line::{Line, Part},
    module::{self, Module},
    table::{Function, Header, Table, Version},
};

/// Most functions inlined into each other at an address.
const MAX_INLINED: usize = 32;

/// `_PCDATA_InlTreeIndex` (Go 1.14) and `_FUNCDATA_InlTree` of src/runtime/symtab.go.
const INLINED_INDEX: u32 = 2;
const INLINED_TREE: u8 = 3;

/// What is known of a file with Go code.
pub(super) struct Program {
    pub(super) segments: Segments,
    at: u64,
    header: Header,
    text: u64,
    /// The address of the data of functions, to which offsets are relative since Go 1.18.
    function_data: Option<u64>,
    main: Option<Main>,
}

impl Program {
    /// Reads a file and the memory of a process that has it loaded `bias` further on than it says; `None` where there is
    /// no Go code in it.
    pub(super) fn read<F, M>(file: &F, memory: &M, segments: &Segments, bias: u64) -> Option<Self>
    where
        F: Bytes + ?Sized,
        M: Bytes + ?Sized,
    {
        let Found { table: at, build } = find(file, segments)?;
        let header = Header::read(file, at)?;
        let module = module::find(memory, bias, segments, &header, segments.address_of(at)?);
        let Module { text, function_data } =
            module.unwrap_or(Module { text: header.text, function_data: None });
        let main = build.and_then(|at| main_of(file, at));
        Some(Self { segments: segments.clone(), at, header, text, function_data, main })
    }

    /// The lines at an address of the file, innermost first; none where no Go code is.
    pub(super) fn lines<F: Bytes + ?Sized>(&self, file: &F, address: u64) -> Vec<Line> {
        let table = Table { file, at: self.at, header: self.header, text: self.text };
        let mut lines = Vec::new();
        let line = |function: String, place| {
            let part = self.main.as_ref().map_or(Part::NotKnown, |main| main.part(&function));
            Line { function, place, part }
        };
        let Some(function) = table.function(address) else { return lines };
        let Some(name) = table.function_name(&function) else { return lines };
        let mut at = address;
        loop {
            let index =
                table.further(&function, INLINED_INDEX, at).and_then(|index| u64::try_from(index).ok());
            let place = table.line(&function, at);
            let Some(index) = index else {
                lines.push(line(name, place));
                return lines;
            };
            let inlined = self.inlined(&table, &function, index).filter(|_| lines.len() < MAX_INLINED);
            let Some((inlined, caller)) = inlined else {
                // The line is that of code inlined here, whose name is not known.
                lines.push(line(name, None));
                return lines;
            };
            lines.push(line(inlined, place));
            at = caller;
        }
    }

    /// The name of a function inlined into another, and an address of what calls it.
    fn inlined<F: Bytes + ?Sized>(
        &self,
        table: &Table<'_, F>,
        function: &Function,
        index: u64,
    ) -> Option<(String, u64)> {
        if INLINED_TREE >= function.data {
            return None;
        }
        let (file, data) = (table.file, Table::<F>::data(function)?);
        let tree = if self.header.version >= Version::Go1_18 {
            let offset = file.u32(data.checked_add(u64::from(INLINED_TREE) * 4)?)?;
            self.function_data?.checked_add(offset.into())?
        } else {
            let aligned = data.checked_sub(self.at)?.checked_next_multiple_of(8)?.checked_add(self.at)?;
            file.u64(aligned.checked_add(u64::from(INLINED_TREE) * 8)?)?
        };
        let (size, name, caller) =
            if self.header.version >= Version::Go1_20 { (16, 4, 8) } else { (20, 12, 16) };
        let at = self.segments.offset_of(tree)?.checked_add(index.checked_mul(size)?)?;
        let name = table.name(file.u32(at.checked_add(name)?)?)?;
        Some((name, function.entry.checked_add(file.u32(at.checked_add(caller)?)?.into())?))
    }
}
