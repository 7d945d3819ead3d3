//! A tiny Go program for tests, written from the formats: an ELF file with a line table of any version, and the memory
//! of a process that runs it. `main.main` calls `main.open`, which is inlined, then comes `runtime.goexit`.

use super::table::{MAGICS, Version};

/// Where the code is in the file, and its address there.
pub(super) const CODE: (u64, u64) = (0x1000, 0x2000);
/// Where the process has loaded what the file has at 0.
pub(super) const BIAS: u64 = 0x1_0000;

const TABLE: usize = 0x400;
const NAMES: usize = 0x100;
const UNITS: usize = 0x180;
const FILES: usize = 0x1a0;
const PROGRAMS: usize = 0x240;
const ENTRIES: usize = 0x300;
const FUNCTIONS: usize = 0x30;
const TREE: usize = 0x900;
const SECTIONS: usize = 0xa00;
/// The variables: in the file, and their address. The memory ends with them.
const VARIABLES: (u64, u64) = (0x1800, 0x4000);

/// Names: `main.main`, `main.open`, `runtime.goexit`.
const TEXTS: [&str; 3] = ["main.main", "main.open", "runtime.goexit"];
const PATHS: [&str; 3] = ["/srv/shop/main.go", "/srv/shop/open.go", "/usr/lib/go/src/runtime/asm_amd64.s"];

/// Where the table is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// A section of this name.
    Section(&'static str),
    /// Sections say only that it is a Go program.
    BuildInfo,
    Nothing,
}

/// A file, and the memory of its process.
pub(super) fn program(version: Version, hint: Hint) -> (Vec<u8>, Vec<u8>) {
    let mut file = vec![0; 0x1a00];
    let is_short = version >= Version::Go1_18;
    // Header and three segments: constants, code, variables.
    put(&mut file, 0, b"\x7fELF\x02\x01");
    put(&mut file, 32, &64_u64.to_le_bytes());
    put(&mut file, 54, &[56, 0, 3, 0]);
    let code = (5, CODE.0, CODE.1, 0x800);
    let variables = (6, VARIABLES.0, VARIABLES.1, 0x200);
    for (index, (flags, offset, address, size)) in
        [(4, 0, 0, 0x1000), code, variables].into_iter().enumerate()
    {
        let at = 64 + index * 56;
        put(&mut file, at, &[1, 0, 0, 0, flags]);
        put_words(&mut file, at + 8, &[offset, address, 0, size]);
    }
    put_sections(&mut file, hint);
    put_table(&mut file, version);
    // `main.open` is called at 0x20 of `main.main`.
    let name = if version == Version::Go1_2 { 0x100 + 10 } else { 10 };
    let tree: &[u32] = if version >= Version::Go1_20 { &[0, name, 0x20, 0] } else { &[0, 0, 0, name, 0x20] };
    for (index, field) in tree.iter().enumerate() {
        put(&mut file, TREE + index * 4, &field.to_le_bytes());
    }
    let mut memory = vec![0; usize::try_from(BIAS).unwrap_or_default() + 0x4400];
    if is_short {
        let at = memory.len() - 0x400 + 0x10;
        put_words(&mut memory, at, &[BIAS + TABLE as u64, BIAS + (TABLE + NAMES) as u64]);
        put_words(&mut memory, at + 176, &[BIAS + CODE.1]);
        let function_data = if version >= Version::Go1_20 { 320 } else { 304 };
        put_words(&mut memory, at + function_data, &[BIAS + 0x800]);
    }
    (file, memory)
}

fn put_sections(file: &mut [u8], hint: Hint) {
    let (name, offset) = match hint {
        Hint::Section(name) => (name, TABLE),
        Hint::BuildInfo => (".go.buildinfo", 0x10),
        Hint::Nothing => return,
    };
    put_words(file, 40, &[SECTIONS as u64]);
    // 64 bytes each; three, of which the last has the names.
    put(file, 58, &[64, 0, 3, 0, 2, 0]);
    put(file, SECTIONS + 64, &[1]);
    put_words(file, SECTIONS + 64 + 24, &[offset as u64]);
    put_words(file, SECTIONS + 128 + 24, &[SECTIONS as u64 + 192]);
    put(file, SECTIONS + 193, name.as_bytes());
}

fn put_table(file: &mut [u8], version: Version) {
    let table = &mut file[TABLE..];
    let is_short = version >= Version::Go1_18;
    put(table, 0, &MAGICS[version as usize].to_le_bytes());
    put(table, 6, &[1, 8]);
    put_words(table, 8, &[2]);
    let parts = [NAMES, UNITS, FILES, PROGRAMS, ENTRIES].map(|part| part as u64);
    match version {
        Version::Go1_2 => {}
        Version::Go1_16 => put_words(table, 24, &parts),
        // The code begins where the loader says.
        Version::Go1_18 | Version::Go1_20 => put_words(table, 32, &parts),
    }
    let (names, programs) = if version == Version::Go1_2 { (NAMES, PROGRAMS) } else { (0, 0) };
    let mut at = NAMES;
    for text in TEXTS {
        put(table, at, text.as_bytes());
        at += text.len() + 1;
    }
    let mut at = FILES + 0x20;
    for (index, path) in PATHS.iter().enumerate() {
        let entry = |offset: usize| u32::try_from(offset).unwrap_or_default().to_le_bytes();
        if version == Version::Go1_2 {
            put(table, FILES + 4 + index * 4, &entry(at));
        } else {
            put(table, UNITS + 4 + index * 4, &entry(at - FILES));
        }
        put(table, at, path.as_bytes());
        at += path.len() + 1;
    }
    let mut at = PROGRAMS + 1;
    // File, line, and what is inlined, each until an offset in the function.
    let written: [&[(i32, u32)]; 5] = [
        &[(1, 0x30), (2, 0x40), (1, 0x80)],
        &[(10, 0x18), (12, 0x30), (7, 0x40), (13, 0x80)],
        &[(-1, 0x30), (0, 0x40), (-1, 0x80)],
        &[(3, 0x20)],
        &[(1594, 0x20)],
    ];
    let offsets = written.map(|pairs| {
        let bytes = encode(pairs);
        put(table, at, &bytes);
        let offset = at - PROGRAMS + programs;
        at += bytes.len();
        u32::try_from(offset).unwrap_or_default()
    });
    let [files, lines, inlined, exit_files, exit_lines] = offsets;
    let entry = |offset: u64| if is_short { offset } else { CODE.1 + offset };
    let (width, entries) =
        (if is_short { 4 } else { 8 }, if version == Version::Go1_2 { 16 } else { ENTRIES });
    let base = if version == Version::Go1_2 { ENTRIES } else { 0 };
    let second = FUNCTIONS + 0x80;
    let pairs = [0x10, (base + FUNCTIONS) as u64, 0x90, (base + second) as u64, 0xb0];
    for (index, number) in pairs.into_iter().enumerate() {
        let number = if index % 2 == 0 { entry(number) } else { number };
        put(table, entries + index * width, &number.to_le_bytes()[..width]);
    }
    if version == Version::Go1_2 {
        put(table, 16 + 5 * 8, &u32::try_from(FILES).unwrap_or_default().to_le_bytes());
    }
    let names = u32::try_from(names).unwrap_or_default();
    let mut function = |at: usize, start: u64, name: u32, files: u32, lines: u32, further: &[u32]| {
        let mut bytes = entry(start).to_le_bytes()[..width].to_vec();
        let count = u32::try_from(further.len()).unwrap_or_default();
        let mut fields = vec![names + name, 0, 0, 0, files, lines, count];
        fields.extend((version >= Version::Go1_16).then_some(0));
        fields.extend((version >= Version::Go1_20).then_some(9));
        // Of the further data the fourth is the tree.
        fields.push(u32::from_le_bytes([0, 0, 0, 4]));
        fields.extend(further);
        bytes.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        let at = ENTRIES + at;
        if is_short {
            bytes.extend([u32::MAX, u32::MAX, u32::MAX, 0x100].iter().flat_map(|field| field.to_le_bytes()));
        } else {
            bytes.resize((at + bytes.len()).next_multiple_of(8) - at, 0);
            bytes.extend([0, 0, 0, TREE as u64].iter().flat_map(|field| field.to_le_bytes()));
        }
        put(table, at, &bytes);
    };
    function(FUNCTIONS, 0x10, 0, files, lines, &[0, 0, inlined]);
    function(second, 0x90, 20, exit_files, exit_lines, &[]);
}

/// A program of a function: by how much the value grows, and for how many bytes of code.
fn encode(pairs: &[(i32, u32)]) -> Vec<u8> {
    let (mut value, mut until, mut bytes) = (-1, 0, Vec::new());
    let mut varint = |mut number: u32| {
        while number >= 0x80 {
            bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        bytes.push(number.to_le_bytes()[0]);
    };
    for (next, end) in pairs {
        let growth: i32 = next - value;
        varint(if growth < 0 { (!growth).cast_unsigned() << 1 | 1 } else { growth.cast_unsigned() << 1 });
        varint(end - until);
        (value, until) = (*next, *end);
    }
    bytes.push(0);
    bytes
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

fn put_words(bytes: &mut [u8], at: usize, words: &[u64]) {
    for (index, word) in words.iter().enumerate() {
        put(bytes, at + index * 8, &word.to_le_bytes());
    }
}
