//! Functions in planted memory, as PHP 8.2 lays them out.

#![expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::{fs::File, os::unix::fs::FileExt as _};

use proptest::prelude::*;

use super::*;
use crate::stacks::php::layout;

const FUNCTION: u64 = 0x10_0000;
const INTERNAL: u64 = 0x11_0000;
const CLASS_AT: u64 = 0x18_0000;
const NAME_AT: u64 = 0x20_0000;
const CLASS_NAME_AT: u64 = 0x28_0000;
const FILE: u64 = 0x30_0000;
/// The lower half of the hash of each text.
const HASH: u64 = 0x8123_4567_89ab_cdef;

fn write(memory: &File, at: u64, bytes: &[u8]) {
    memory.write_all_at(bytes, at).unwrap();
}

fn write_text(memory: &File, at: u64, text: &[u8]) {
    write(memory, at + 8, &HASH.to_ne_bytes());
    write(memory, at + 16, &(text.len() as u64).to_ne_bytes());
    write(memory, at + 24, text);
}

/// `Shop\Ledger::refund` of `/srv/große.php`, from line 7 to line 9, and a function of the machine of the same name.
fn planted() -> File {
    let memory = tempfile::tempfile().unwrap();
    memory.set_len(0x50_0000).unwrap();
    write(&memory, FUNCTION, &[2]);
    write(&memory, FUNCTION + 8, &NAME_AT.to_ne_bytes());
    write(&memory, FUNCTION + 16, &CLASS_AT.to_ne_bytes());
    write(&memory, FUNCTION + 152, &FILE.to_ne_bytes());
    write(&memory, FUNCTION + 160, &7_u32.to_ne_bytes());
    write(&memory, FUNCTION + 164, &9_u32.to_ne_bytes());
    write(&memory, CLASS_AT + 8, &CLASS_NAME_AT.to_ne_bytes());
    write_text(&memory, NAME_AT, b"refund");
    write_text(&memory, CLASS_NAME_AT, b"Shop\\Ledger");
    write_text(&memory, FILE, "/srv/große.php".as_bytes());
    write(&memory, INTERNAL, &[1]);
    write(&memory, INTERNAL + 8, &NAME_AT.to_ne_bytes());
    memory
}

/// A frame at a line.
fn frame(line: u64) -> ScriptFrame {
    ScriptFrame { code: FUNCTION, instruction: line | HASH << 32, table: FILE }
}

fn find(cache: &mut FunctionCache, memory: File, frame: &ScriptFrame) -> Found {
    let layout = layout::of_api(20_220_829).unwrap();
    let memory = ProcessMemory::planted(memory);
    cache.find(&Process { pid: 1, memory: &memory, layout: &layout }, frame)
}

fn line(cache: &mut FunctionCache, memory: File, frame: &ScriptFrame) -> Option<ScriptLine> {
    match find(cache, memory, frame) {
        Found::Line(line) => Some(line),
        Found::Unnamed | Found::Nothing => None,
    }
}

#[test]
fn a_function_has_a_name_and_a_line() {
    let mut cache = FunctionCache::default();
    let found = line(&mut cache, planted(), &frame(9)).unwrap();
    assert_eq!(
        (found.function.as_str(), found.file.as_deref()),
        ("Shop\\Ledger::refund", Some("/srv/große.php"))
    );
    assert_eq!(found.line, Some(9));
    assert_eq!(line(&mut cache, planted(), &frame(8)).unwrap().line, Some(8));
    assert_eq!(line(&mut cache, planted(), &frame(0)).unwrap().line, None, "while an exception is thrown");
    assert_eq!(cache.known.len(), 1);
}

#[test]
fn code_outside_of_functions_has_a_line_when_it_is_gone() {
    let memory = planted();
    write(&memory, FUNCTION, &[0; 176]);
    let nameless = ScriptFrame { code: FUNCTION | PHP_NAMELESS, ..frame(3) };
    let found = line(&mut FunctionCache::default(), memory, &nameless).unwrap();
    assert_eq!(
        (found.function.as_str(), found.file.as_deref(), found.line),
        ("{main}", Some("/srv/große.php"), Some(3))
    );
    let memory = planted();
    write(&memory, FILE + 8, &[0; 8]);
    assert_eq!(
        find(&mut FunctionCache::default(), memory, &nameless),
        Found::Nothing,
        "the name is gone too"
    );
}

#[test]
fn a_class_without_a_name_is_called_as_php_calls_it() {
    let memory = planted();
    write_text(&memory, CLASS_NAME_AT, b"class@anonymous\0/srv/shop.php:3$0");
    let found = line(&mut FunctionCache::default(), memory, &frame(8)).unwrap();
    assert_eq!(found.function, "class@anonymous::refund");
}

#[test]
fn functions_of_the_machine_have_names_and_no_lines() {
    let mut cache = FunctionCache::default();
    let frame = ScriptFrame { code: INTERNAL, instruction: 0, table: 0 };
    let found = line(&mut cache, planted(), &frame).unwrap();
    assert_eq!((found.function.as_str(), found.file, found.line), ("refund", None, None));
    // Below which a fiber runs.
    let fiber = ScriptFrame { code: INTERNAL | PHP_NAMELESS, ..frame };
    assert_eq!(find(&mut cache, planted(), &fiber), Found::Unnamed);
}

#[test]
fn what_took_the_place_of_a_function_is_not_taken_for_it() {
    let mut cache = FunctionCache::default();
    let other = planted();
    write(&other, FUNCTION + 152, &(FILE + 0x1000).to_ne_bytes());
    assert_eq!(find(&mut cache, other, &frame(8)), Found::Nothing, "a function of another file");
    let other = planted();
    write(&other, FILE + 8, &(HASH + 1).to_ne_bytes());
    assert_eq!(find(&mut cache, other, &frame(8)), Found::Nothing, "another file");
    assert_eq!(find(&mut cache, planted(), &frame(10)), Found::Nothing, "a function on other lines");
    let other = planted();
    write(&other, FUNCTION, &[3]);
    assert_eq!(find(&mut cache, other, &frame(8)), Found::Nothing, "no function");
    for code in [0, PHP_NAMELESS] {
        let frame = ScriptFrame { code, ..ScriptFrame::default() };
        assert_eq!(find(&mut cache, planted(), &frame), Found::Nothing, "a frame without a function");
    }
    // Another one of the same file at the same address.
    assert!(line(&mut cache, planted(), &frame(8)).is_some());
    let other = planted();
    write(&other, FUNCTION + 8, &(NAME_AT + 0x1000).to_ne_bytes());
    write_text(&other, NAME_AT + 0x1000, b"charge");
    assert_eq!(line(&mut cache, other, &frame(8)).unwrap().function, "Shop\\Ledger::charge");
}

#[test]
fn lengths_that_a_process_says_are_bounded() {
    for at in [NAME_AT, CLASS_NAME_AT, FILE] {
        let memory = planted();
        write(&memory, at + 16, &u64::MAX.to_ne_bytes());
        assert_eq!(find(&mut FunctionCache::default(), memory, &frame(8)), Found::Nothing, "{at:#x}");
    }
}

proptest! {
    #[test]
    fn any_memory_is_survived(noise in proptest::collection::vec((0x10_0000_u64..0x50_0000, any::<u64>()), 0..40),
                              code: u64, instruction: u64, table: u64) {
        let memory = planted();
        for (at, word) in noise {
            write(&memory, at & !0xf_ff00 | at & 0xff, &word.to_ne_bytes());
        }
        let mut cache = FunctionCache::default();
        find(&mut cache, memory.try_clone().unwrap(), &ScriptFrame { code, instruction, table });
        find(&mut cache, memory, &ScriptFrame { instruction, ..frame(8) });
    }
}
