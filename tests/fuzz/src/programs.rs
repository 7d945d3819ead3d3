//! What is read of the programs and libraries of strangers: files that anybody can write.

use tcptrace::testing::fuzzed::{
    GoLine, go_lines, has_caller_rule, holds_php, holds_python, holds_ruby, read_elf, unwound,
};

use super::planted::file;

/// An ELF file, mapped as a whole, and its unwind information. Its last bytes are the stack: small numbers there are places
/// in the file.
pub fn elf(bytes: &[u8]) {
    const START: u64 = 0x5555_0000_0000;
    const SP: u64 = 0x7fff_0000;
    const STACK_BYTES: usize = 512;
    const MAX_FRAMES: usize = 128;
    const MAX_READ: u64 = 64 << 20;
    let length = bytes.len() as u64;
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let entry = word(24).unwrap_or_default();
    assert!(read_elf(file(bytes), entry).is_none_or(|read| read <= MAX_READ), "all that is read is bounded");
    let holds = holds_python(file(bytes)) || holds_php(file(bytes)) || holds_ruby(file(bytes));
    assert!(!holds || bytes.starts_with(b"\x7fELF"), "what is no ELF file holds no interpreter");
    let stack = &bytes[bytes.len().saturating_sub(STACK_BYTES)..];
    let (words, _) = stack.as_chunks();
    let place = |place: u64| if place < length { START + place } else { place };
    let words: Vec<u64> = words.iter().map(|word| place(u64::from_le_bytes(*word))).collect();
    let from = [place(entry)].into_iter().chain(words.iter().copied().take(8));
    let registers: Vec<[u64; 4]> = from.map(|pc| [pc, SP, SP + 64, START + entry % 0x1000]).collect();
    let stack: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let Some(stacks) = unwound(file(bytes), START..START + length, &registers, &stack) else { return };
    for (stack, [pc, ..]) in stacks.iter().zip(registers) {
        assert!((1..=MAX_FRAMES).contains(&stack.len()), "{} frames", stack.len());
        assert_eq!(stack[0], pc, "the first frame is where the call was");
    }
}

/// The code of a function, from where a call returns to.
pub fn instructions(bytes: &[u8]) {
    const RETURNS: [u8; 4] = [0xc2, 0xc3, 0xca, 0xcb];
    for is_narrow in [false, true] {
        let has_rule = has_caller_rule(is_narrow, bytes);
        assert!(!has_rule || bytes.iter().any(|byte| RETURNS.contains(byte)), "a return has an instruction");
    }
}

/// A program of Go, as it is in its file.
pub fn go(bytes: &[u8]) {
    const MAX_LINES: usize = 33;
    const MAX_NAME: usize = 512;
    const MAX_PATH: usize = 4096;
    const STEP: usize = 16;
    const MAX_PLACES: usize = 512;
    let offsets: Vec<u64> = (0..bytes.len() as u64).step_by(STEP).take(MAX_PLACES).collect();
    for lines in go_lines(bytes, &offsets) {
        assert!(lines.len() <= MAX_LINES, "{} lines at an address", lines.len());
        for GoLine { function, place, .. } in lines {
            // What is no UTF-8 becomes a character of three bytes.
            assert!((1..=3 * MAX_NAME).contains(&function.len()), "{function:?}");
            assert!(place.is_none_or(|(path, _)| (1..=3 * MAX_PATH).contains(&path.len())));
        }
    }
}
