//! Code objects in planted memory, as CPython 3.12 lays them out.

#![expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::{fs::File, os::unix::fs::FileExt as _};

use proptest::prelude::*;

use super::*;
use crate::stacks::python::layout;

const CODE: u64 = 0x10_0000;
const NAME: u64 = 0x20_0000;
const FILE: u64 = 0x30_0000;
const TABLE: u64 = 0x40_0000;
const TYPES: Types = Types { code: 0x1000, text: 0x2000, bytes: 0x3000 };
/// Where the code begins in a code object of 3.12.
const START: u64 = 192;

fn write(memory: &File, at: u64, bytes: &[u8]) {
    memory.write_all_at(bytes, at).unwrap();
}

fn write_text(memory: &File, at: u64, text: &[u8], characters: u64, state: u32) {
    write(memory, at + 8, &TYPES.text.to_ne_bytes());
    write(memory, at + 16, &characters.to_ne_bytes());
    write(memory, at + 32, &state.to_ne_bytes());
    let start = if state & 1 << 6 == 0 { 56 } else { 40 };
    write(memory, at + start, text);
}

/// `Shop.refund` of `/srv/große.py`, whose first two instructions are on line 7 and the next on line 9.
fn planted() -> File {
    let memory = tempfile::tempfile().unwrap();
    memory.set_len(0x50_0000).unwrap();
    write(&memory, CODE + 8, &TYPES.code.to_ne_bytes());
    write(&memory, CODE + 68, &7_i32.to_ne_bytes());
    write(&memory, CODE + 112, &FILE.to_ne_bytes());
    write(&memory, CODE + 128, &NAME.to_ne_bytes());
    write(&memory, CODE + 136, &TABLE.to_ne_bytes());
    write_text(&memory, NAME, b"Shop.refund", 11, 1 << 2 | 1 << 5 | 1 << 6);
    let wide: Vec<u8> = "/srv/große.py".encode_utf16().flat_map(u16::to_ne_bytes).collect();
    write_text(&memory, FILE, &wide, 13, 2 << 2 | 1 << 5);
    write(&memory, TABLE + 8, &TYPES.bytes.to_ne_bytes());
    write(&memory, TABLE + 16, &6_u64.to_ne_bytes());
    // Line 7 for two instructions, by columns only; line 9 for one.
    write(&memory, TABLE + 32, &[0x81, 0, 0x80 | 12 << 3, 0, 0, 0]);
    memory
}

fn frame(instruction: u64) -> ScriptFrame {
    ScriptFrame { code: CODE, instruction: CODE + START + instruction, table: TABLE }
}

fn look_up(cache: &mut CodeCache, memory: File, frame: &ScriptFrame) -> Option<ScriptLine> {
    let layout = layout::of_version(12, None).unwrap();
    let memory = ProcessMemory::planted(memory);
    cache.line(&Process { pid: 1, memory: &memory, layout: &layout, types: TYPES }, frame)
}

#[test]
fn a_code_object_has_a_name_and_a_line() {
    let mut cache = CodeCache::default();
    let line = look_up(&mut cache, planted(), &frame(4)).unwrap();
    assert_eq!((line.function.as_str(), line.file.as_deref()), ("Shop.refund", Some("/srv/große.py")));
    assert_eq!(line.line, Some(9));
    assert_eq!(look_up(&mut cache, planted(), &frame(2)).unwrap().line, Some(7));
    assert_eq!(look_up(&mut cache, planted(), &frame(600)).unwrap().line, None);
    assert_eq!(cache.known.len(), 1);
}

#[test]
fn what_took_the_place_of_a_code_object_is_not_taken_for_it() {
    let mut cache = CodeCache::default();
    let other = planted();
    write(&other, CODE + 136, &(TABLE + 0x1000).to_ne_bytes());
    assert_eq!(look_up(&mut cache, other, &frame(0)), None, "another code object");
    let other = planted();
    write(&other, CODE + 8, &0x9999_u64.to_ne_bytes());
    assert_eq!(look_up(&mut cache, other, &frame(0)), None, "no code object");
    // Another one at the same address, with the same table.
    assert!(look_up(&mut cache, planted(), &frame(0)).is_some());
    let other = planted();
    write(&other, CODE + 68, &70_i32.to_ne_bytes());
    assert_eq!(look_up(&mut cache, other, &frame(0)).unwrap().line, Some(70));
}

#[test]
fn lengths_that_a_process_says_are_bounded() {
    let mut cache = CodeCache::default();
    for at in [NAME, FILE, TABLE] {
        let memory = planted();
        write(&memory, at + 16, &u64::MAX.to_ne_bytes());
        assert_eq!(look_up(&mut cache, memory, &frame(0)), None, "{at:#x}");
    }
}

proptest! {
    #[test]
    fn any_memory_is_survived(noise in proptest::collection::vec((0x10_0000_u64..0x50_0000, any::<u64>()), 0..40),
                              code: u64, instruction: u64) {
        let memory = planted();
        for (at, word) in noise {
            write(&memory, at & !0xf_ff00 | at & 0xff, &word.to_ne_bytes());
        }
        let mut cache = CodeCache::default();
        look_up(&mut cache, memory.try_clone().unwrap(), &ScriptFrame { code, instruction, table: TABLE });
        look_up(&mut cache, memory, &ScriptFrame { code: CODE, instruction, table: TABLE });
    }
}
