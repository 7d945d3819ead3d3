//! What is read of the processes of strangers: their memory, and the files that describe it.
#![expect(clippy::unwrap_used, reason = "what must not happen ends the fuzzer")]

use tcptrace::testing::fuzzed::{
    LineFormat, Mapping, ScriptLine, look_up_perf_map, parse_mappings, php_script_line, python_line,
    python_script_line, ruby_script_line, walk_java,
};

use super::planted::{Bytes, memory};

/// A perf map.
pub fn perf_map(bytes: &[u8]) {
    const MAX_NAME: usize = 512;
    let addresses = [0, 1, 0x1000, 0x7f00_0000_1000, 0x7fff_ffff_ffff, u64::MAX];
    let names = look_up_perf_map(bytes, &addresses).unwrap();
    assert_eq!(names.len(), addresses.len(), "a name for each address");
    for name in names.into_iter().flatten() {
        // What is no UTF-8 becomes a character of three bytes.
        assert!((1..=3 * MAX_NAME).contains(&name.len()), "{name:?}");
    }
}

/// /proc/PID/maps. Its first lines are the kernel's, but the names in it are not.
pub fn maps(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let mappings: Vec<Mapping> = parse_mappings(bytes, |_| true).collect();
    assert!(mappings.len() <= lines, "{} mappings in {lines} lines", mappings.len());
    assert!(parse_mappings(bytes, |path| path.len() > 9).all(|mapping| mappings.contains(&mapping)));
}

/// A table of lines of Python: its format (a byte), the first line (4) and the table.
pub fn python_lines(bytes: &[u8]) {
    let Some((head, table)) = bytes.split_first_chunk::<5>() else { return };
    let [format, first_line @ ..] = *head;
    let first_line = i32::from_le_bytes(first_line);
    let format = [LineFormat::Lnotab, LineFormat::Linetable, LineFormat::Locations][usize::from(format % 3)];
    // Each pair of the older tables moves by less than 129 lines.
    let reach = (format != LineFormat::Locations).then(|| 128 * (table.len() as u64 / 2));
    for offset in (0..0x200).chain([u64::MAX - 1, u64::MAX]) {
        let line = python_line(format, table, first_line, offset);
        assert_ne!(line, Some(0), "there is no line 0");
        let distance = line.map_or(0, |line| i64::from(first_line).abs_diff(line.into()));
        assert!(reach.is_none_or(|reach| distance <= reach), "line {line:?} from {first_line} on");
    }
}

/// A frame of Python: the minor version (a byte), code object, instruction and line table (8 each), what `_PyRuntime` begins
/// with, and the memory.
pub fn python_code(bytes: &[u8]) {
    const MAX_TEXT: usize = 4096;
    let mut bytes = Bytes(bytes);
    let Some(minor) = bytes.u8() else { return };
    let (Some(code), Some(instruction), Some(table)) = (bytes.u64(), bytes.u64(), bytes.u64()) else {
        return;
    };
    let Some(runtime) = bytes.counted() else { return };
    let frame = [code, instruction, table];
    let line = python_script_line(memory(bytes), minor, runtime, [0x1000, 0x2000, 0x3000], frame);
    let Some(ScriptLine { function, file, line, .. }) = line else { return };
    assert!(function.chars().count() <= MAX_TEXT, "{function:?}");
    assert!(file.is_none_or(|file| file.chars().count() <= MAX_TEXT));
    assert_ne!(line, Some(0), "there is no line 0");
}

/// A frame of PHP: the number of its interface, the function, the instruction and the table (8 bytes each), and the memory.
pub fn php_code(bytes: &[u8]) {
    const MAX_TEXT: usize = 4096;
    let mut bytes = Bytes(bytes);
    let Some(api) = bytes.u64().and_then(|number| u32::try_from(number).ok()) else { return };
    let (Some(code), Some(instruction), Some(table)) = (bytes.u64(), bytes.u64(), bytes.u64()) else {
        return;
    };
    let line = php_script_line(memory(bytes), api, [code, instruction, table]);
    let Some(ScriptLine { function, file, line, .. }) = line else { return };
    // A class and a method; what is no UTF-8 becomes a character of three bytes.
    assert!((1..=6 * MAX_TEXT + 2).contains(&function.len()), "{function:?}");
    assert!(file.as_ref().is_none_or(|file| (1..=3 * MAX_TEXT).contains(&file.len())), "{file:?}");
    assert!(line.is_none_or(|line| line > 0 && file.is_some()), "line {line:?} of {file:?}");
}

/// A frame of Ruby: the minor version (a byte), the sequence, the instruction and the body (8 bytes each), and the memory.
pub fn ruby_code(bytes: &[u8]) {
    const MAX_TEXT: usize = 4096;
    let mut bytes = Bytes(bytes);
    let Some(minor) = bytes.u8() else { return };
    let (Some(code), Some(instruction), Some(table)) = (bytes.u64(), bytes.u64(), bytes.u64()) else {
        return;
    };
    let line = ruby_script_line(memory(bytes), minor, [code, instruction, table]);
    let Some(ScriptLine { function, file, line, .. }) = line else { return };
    // What is no UTF-8 becomes a character of three bytes.
    assert!((1..=3 * MAX_TEXT).contains(&function.len()), "{function:?}");
    assert!(file.is_some_and(|file| (1..=3 * MAX_TEXT).contains(&file.len())));
    assert_ne!(line, Some(0), "there is no line 0");
}

/// A frame of Java: program counter and frame pointer (8 bytes each), the stack (counted), and the memory.
pub fn hotspot(bytes: &[u8]) {
    const SYMBOLS: u64 = 0x1000_0000;
    const SP: u64 = 0x7fff_0000;
    const MAX_FRAMES: usize = 16;
    const MAX_DEPTH: usize = 64;
    const MAX_NAME: usize = 1024;
    let mut bytes = Bytes(bytes);
    let (Some(pc), Some(fp), Some(stack)) = (bytes.u64(), bytes.u64(), bytes.counted()) else { return };
    let word = |address: u64| {
        let offset = usize::try_from(address.checked_sub(SP)?).ok()?;
        Some(u64::from_le_bytes(*stack.get(offset..)?.first_chunk()?))
    };
    let frames = walk_java(memory(bytes), SYMBOLS, [pc, SP, fp], &word, MAX_FRAMES);
    assert!(frames.len() <= MAX_FRAMES, "{} frames", frames.len());
    for lines in frames {
        assert!(lines.len() <= MAX_DEPTH, "{} lines of a frame", lines.len());
        for ScriptLine { function, file, line, .. } in lines {
            // A class and a method; a scheme, a package and a file.
            assert!((2..=2 * MAX_NAME + 1).contains(&function.len()), "{function:?}");
            assert!(file.is_none_or(|file| file.len() <= 2 * MAX_NAME + 6));
            assert_ne!(line, Some(0), "there is no line 0");
        }
    }
}
