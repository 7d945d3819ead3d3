//! Go's line table (pclntab), as the linker writes it since Go 1.2: which function, file and line the code at an address
//! belongs to, with the functions inlined there. Its layout is in src/runtime/symtab.go and
//! src/cmd/link/internal/ld/pcln.go of Go. Every offset in it is a stranger's.

use super::bytes::{Bytes, Stream};

/// How the table of each version begins: Go 1.2, 1.16, 1.18, 1.20.
pub(super) const MAGICS: [u32; 4] = [0xffff_fffb, 0xffff_fffa, 0xffff_fff0, 0xffff_fff1];

/// Longer names are cut. Names of generic code can be long.
const MAX_NAME: usize = 512;
const MAX_PATH: usize = 4096;
/// Most bytes read of what a function says of its addresses. Large ones, made by generators, have some 100 KiB.
const MAX_PROGRAM: usize = 256 * 1024;
/// Most functions of a table. Large programs have some 200,000.
const MAX_FUNCTIONS: u64 = 1 << 26;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Go1_2,
    Go1_16,
    Go1_18,
    Go1_20,
}

/// Where the parts of the table are, from its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) version: Version,
    quantum: u32,
    functions: u64,
    /// Where code begins; 0 where that is to be relocated, and since Go 1.26.
    pub(super) text: u64,
    pub(super) names: u64,
    units: u64,
    files: u64,
    programs: u64,
    entries: u64,
}

impl Header {
    pub(super) fn read<B: Bytes + ?Sized>(file: &B, at: u64) -> Option<Self> {
        let [m0, m1, m2, m3, 0, 0, quantum @ (1 | 2 | 4), 8] = file.read::<8>(at)? else { return None };
        let version = match u32::from_le_bytes([m0, m1, m2, m3]) {
            0xffff_fffb => Version::Go1_2,
            0xffff_fffa => Version::Go1_16,
            0xffff_fff0 => Version::Go1_18,
            0xffff_fff1 => Version::Go1_20,
            _ => return None,
        };
        let word = |index: u64| file.u64(at.checked_add(8 + 8 * index)?);
        let functions = word(0).filter(|functions| (1..MAX_FUNCTIONS).contains(functions))?;
        let header = Self {
            version,
            quantum: quantum.into(),
            functions,
            text: 0,
            names: 0,
            units: 0,
            files: 0,
            programs: 0,
            entries: 0,
        };
        Some(match version {
            Version::Go1_2 => {
                let files = at.checked_add(16 + functions * 16 + 8)?;
                Self { files: file.u32(files)?.into(), entries: 16, ..header }
            }
            Version::Go1_16 => Self {
                names: word(2)?,
                units: word(3)?,
                files: word(4)?,
                programs: word(5)?,
                entries: word(6)?,
                ..header
            },
            Version::Go1_18 | Version::Go1_20 => Self {
                text: word(2)?,
                names: word(3)?,
                units: word(4)?,
                files: word(5)?,
                programs: word(6)?,
                entries: word(7)?,
                ..header
            },
        })
    }
}

/// A table in a file.
pub(super) struct Table<'a, B: ?Sized> {
    pub(super) file: &'a B,
    pub(super) at: u64,
    pub(super) header: Header,
    pub(super) text: u64,
}

/// What the table has of a function.
pub(super) struct Function {
    /// Its address.
    pub(super) entry: u64,
    name: u32,
    files: u32,
    lines: u32,
    unit: u32,
    /// The offset in the file of the programs of further values, and their number.
    further: (u64, u32),
    /// How many pointers to further data follow.
    pub(super) data: u8,
}

impl<B: Bytes + ?Sized> Table<'_, B> {
    /// The function at an address.
    pub(super) fn function(&self, address: u64) -> Option<Function> {
        let Header { version, functions, entries, .. } = self.header;
        let is_short = version >= Version::Go1_18;
        let entries = self.at.checked_add(entries)?;
        let number = |at: u64| if is_short { self.file.u32(at).map(u64::from) } else { self.file.u64(at) };
        let width = if is_short { 4 } else { 8 };
        // Pairs of an address and of where its function is described, then the end.
        let start = |index: u64| number(entries.checked_add(index * 2 * width)?);
        let wanted = address.checked_sub(if is_short { self.text } else { 0 })?;
        if start(functions)? <= wanted || start(0)? > wanted {
            return None;
        }
        let (mut low, mut high) = (0, functions);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            *(if start(middle)? <= wanted { &mut low } else { &mut high }) = middle;
        }
        let described = number(entries.checked_add(low * 2 * width + width)?)?;
        let base = if version == Version::Go1_2 { self.at } else { entries };
        let at = base.checked_add(described)?;
        let fields = at.checked_add(width)?;
        let field = |index: u64| self.file.u32(fields.checked_add(index * 4)?);
        // The number of the unit came with Go 1.16, the line of the function with 1.20.
        let words = match version {
            Version::Go1_2 => 7,
            Version::Go1_16 | Version::Go1_18 => 8,
            Version::Go1_20 => 9,
        };
        let [_, _, _, data] = field(words)?.to_le_bytes();
        Some(Function {
            entry: (if is_short { self.text } else { 0 }).checked_add(number(at)?)?,
            name: field(0)?,
            files: field(4)?,
            lines: field(5)?,
            unit: if words > 7 { field(7)? } else { 0 },
            further: (fields.checked_add(words * 4 + 4)?, field(6)?),
            data,
        })
    }

    pub(super) fn function_name(&self, function: &Function) -> Option<String> {
        self.name(function.name)
    }

    /// The name that begins at this place among the names.
    pub(super) fn name(&self, name: u32) -> Option<String> {
        let names = self.at.checked_add(self.header.names)?;
        let before = self.file.read::<1>(names.checked_add(name.saturating_sub(1).into())?)?;
        (name == 0 || before == [0]).then(|| self.file.text(names.checked_add(name.into())?, MAX_NAME))?
    }

    /// The path of the file and the line of the code at an address, innermost if it is inlined.
    pub(super) fn line(&self, function: &Function, address: u64) -> Option<(String, u32)> {
        let file = u64::try_from(self.value(function, function.files, address)?).ok()?;
        let line = u32::try_from(self.value(function, function.lines, address)?).ok()?;
        let files = self.at.checked_add(self.header.files)?;
        let path = if self.header.version == Version::Go1_2 {
            self.at.checked_add(self.file.u32(files.checked_add(file * 4)?)?.into())?
        } else {
            let unit = self.at.checked_add(self.header.units)?;
            let index = file + u64::from(function.unit);
            files.checked_add(self.file.u32(unit.checked_add(index * 4)?)?.into())?
        };
        Some((self.file.text(path, MAX_PATH)?, line))
    }

    /// The value at an address of a further program of a function.
    pub(super) fn further(&self, function: &Function, index: u32, address: u64) -> Option<i32> {
        let (at, count) = function.further;
        let program = self.file.u32(at.checked_add(u64::from(index) * 4)?)?;
        (index < count).then(|| self.value(function, program, address))?
    }

    /// Where the pointers to further data of a function begin, as an offset in the file.
    pub(super) fn data(function: &Function) -> Option<u64> {
        let (at, count) = function.further;
        at.checked_add(u64::from(count) * 4)
    }

    /// Runs a program: pairs of by how much the value grows, and for how many bytes of code it holds then.
    fn value(&self, function: &Function, program: u32, address: u64) -> Option<i32> {
        if program == 0 {
            return None;
        }
        let at = self.at.checked_add(self.header.programs)?.checked_add(program.into())?;
        let mut bytes = Stream::new(self.file, at, MAX_PROGRAM);
        let (mut value, mut end) = (-1_i32, function.entry);
        loop {
            let growth = varint(&mut bytes)?;
            if growth == 0 && end != function.entry {
                return None;
            }
            // The lowest bit is the sign.
            let grows = (growth >> 1).cast_signed();
            value = value.wrapping_add(if growth & 1 == 0 { grows } else { !grows });
            end = end.checked_add((varint(&mut bytes)?.wrapping_mul(self.header.quantum)).into())?;
            if address < end {
                return Some(value);
            }
        }
    }
}

/// A number, seven bits a byte, the lowest first.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let byte = bytes.next()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
