use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    image::Segments,
    line::{Line, Part},
    program::Program,
    synthetic::{BIAS, CODE, Hint, program},
    table::Version::{self, Go1_2, Go1_16, Go1_18, Go1_20},
};

const VERSIONS: [Version; 4] = [Go1_2, Go1_16, Go1_18, Go1_20];

/// The lines at an offset of the code.
fn lines(file: &[u8], memory: &[u8], offset: u64) -> Option<Vec<Line>> {
    let segments = Segments::read(file)?;
    let program = Program::read(file, memory, &segments, BIAS)?;
    let address = program.segments.address_of_code(CODE.0 + offset)?;
    Some(program.lines(file, address))
}

fn line(function: &str, path: &str, line: u32) -> Line {
    Line { function: function.to_owned(), place: Some((path.to_owned(), line)), part: Part::NotKnown }
}

#[test]
fn functions_files_and_lines_are_those_of_the_table() {
    for version in VERSIONS {
        let (file, memory) = program(version, Hint::Section(".gopclntab"));
        let at = |offset| lines(&file, &memory, offset).unwrap_or_default();
        assert_eq!(at(0x10), [line("main.main", "/srv/shop/main.go", 10)], "{version:?}");
        assert_eq!(at(0x2f), [line("main.main", "/srv/shop/main.go", 12)], "{version:?}");
        assert_eq!(at(0x60), [line("main.main", "/srv/shop/main.go", 13)], "{version:?}");
        let exit = "/usr/lib/go/src/runtime/asm_amd64.s";
        assert_eq!(at(0x90), [line("runtime.goexit", exit, 1594)], "{version:?}");
        for outside in [0, 0xf, 0xb0, 0x7ff] {
            assert_eq!(at(outside), [], "{version:?}");
        }
    }
}

#[test]
fn what_is_inlined_is_named_before_what_it_is_inlined_into() {
    for version in VERSIONS {
        let (file, memory) = program(version, Hint::Section(".gopclntab"));
        let open = line("main.open", "/srv/shop/open.go", 7);
        let main = line("main.main", "/srv/shop/main.go", 12);
        assert_eq!(lines(&file, &memory, 0x44), Some(vec![open, main]), "{version:?}");
    }
}

#[test]
fn go_1_27_has_the_data_of_functions_further_on() {
    let (file, mut memory) = program(Go1_20, Hint::Section(".gopclntab"));
    let at = memory.len() - 0x400 + 0x10 + 320;
    memory.copy_within(at..at + 8, at + 24);
    memory[at..at + 8].copy_from_slice(&7_u64.to_le_bytes());
    assert_eq!(lines(&file, &memory, 0x44).map(|lines| lines.len()), Some(2));
}

#[test]
fn without_the_names_of_what_is_inlined_there_is_no_line() {
    // Where the code begins is in the file where that is loaded at a fixed address.
    let (mut file, _) = program(Go1_20, Hint::Section(".gopclntab"));
    file[0x400 + 24..0x400 + 32].copy_from_slice(&CODE.1.to_le_bytes());
    let function = "main.main".to_owned();
    assert_eq!(lines(&file, &[], 0x44), Some(vec![Line { function, place: None, part: Part::NotKnown }]));
    assert_eq!(lines(&file, &[], 0x10), Some(vec![line("main.main", "/srv/shop/main.go", 10)]));
}

#[test]
fn the_table_is_found_whatever_the_linker_left_of_the_sections() {
    let hints = [".gopclntab", ".data.rel.ro.gopclntab"].map(Hint::Section);
    for hint in hints.into_iter().chain([Hint::BuildInfo, Hint::Nothing]) {
        for version in VERSIONS {
            let (file, memory) = program(version, hint);
            let lines = lines(&file, &memory, 0x10).unwrap_or_default();
            assert_eq!(lines, [line("main.main", "/srv/shop/main.go", 10)], "{version:?}, {hint:?}");
        }
    }
    let (other, memory) = program(Go1_20, Hint::Section(".rodata"));
    assert_eq!(lines(&other, &memory, 0x10), None, "nothing says that this is a Go program");
}

proptest! {
    #[test]
    fn no_bytes_panic(
        version in prop::sample::select(&VERSIONS),
        hint in prop::sample::select(vec![Hint::Section(".gopclntab"), Hint::BuildInfo, Hint::Nothing]),
        changed in vec((any::<Index>(), any::<bool>(), any::<[u8; 8]>(), 1..=8_usize), 0..12),
        length in any::<Index>(),
        is_cut in any::<bool>(),
        offset in 0..0x100_u64,
    ) {
        let (mut file, mut memory) = program(version, hint);
        for (index, is_memory, bytes, count) in changed {
            let target = if is_memory { &mut memory } else { &mut file };
            // Most of the file is what matters, and of the memory the end.
            let room = 0x500.min(target.len());
            let start = if is_memory { target.len() - room } else { index.index(2) * 0x400 };
            let at = start + index.index(room - 8);
            target[at..at + count].copy_from_slice(&bytes[..count]);
        }
        if is_cut {
            file.truncate(length.index(file.len()));
        }
        lines(&file, &memory, offset);
    }

    #[test]
    fn nor_do_numbers_at_the_edge(
        version in prop::sample::select(&VERSIONS),
        word in 0..0x1a00_usize / 4,
        edge in prop::sample::select(vec![0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 7, u32::MAX]),
        offset in 0..0x100_u64,
    ) {
        let (mut file, memory) = program(version, Hint::Section(".gopclntab"));
        file[word * 4..word * 4 + 4].copy_from_slice(&edge.to_le_bytes());
        lines(&file, &memory, offset);
        // As words of eight bytes.
        let word = word & !1;
        file[word * 4..word * 4 + 4].copy_from_slice(&edge.to_le_bytes());
        file[word * 4 + 4..word * 4 + 8].copy_from_slice(&edge.to_le_bytes());
        lines(&file, &memory, offset);
    }
}
