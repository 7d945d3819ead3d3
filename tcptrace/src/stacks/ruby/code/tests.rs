//! Instruction sequences in planted memory, as Ruby lays them out.

#![expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::{fs::File, os::unix::fs::FileExt as _};

use proptest::prelude::*;

use super::*;
use crate::stacks::ruby::{
    layout::{self, LOCK_BYTES},
    positions::tests::table,
};

const SEQUENCE_AT: u64 = 0x10_0000;
const BODY: u64 = 0x11_0000;
const CODE: u64 = 0x12_0000;
const LABEL_AT: u64 = 0x20_0000;
const PATH_AT: u64 = 0x21_0000;
const REAL_PATH_AT: u64 = 0x22_0000;
const FILE_AT: u64 = 0x23_0000;
const LONG_TEXT: u64 = 0x24_0000;
const ENTRIES: u64 = 0x30_0000;
const TABLE_AT: u64 = 0x31_0000;

/// Entries begin at these instructions, and are of these lines.
const LINES: [(u32, u32); 4] = [(0, 7), (5, 8), (60, 9), (600, 41)];

fn write(memory: &File, at: u64, bytes: &[u8]) {
    memory.write_all_at(bytes, at).unwrap();
}

fn write_word(memory: &File, at: u64, word: u64) {
    write(memory, at, &word.to_ne_bytes());
}

fn layout(version: &str) -> Layout {
    layout::of_version(version, LOCK_BYTES).unwrap()
}

/// A string that has its bytes within itself.
fn write_text(memory: &File, layout: &Layout, at: u64, text: &str) {
    let length = text.len() as u64;
    let start = match layout.short_text {
        ShortText::InFlags => {
            write_word(memory, at, STRING | length << LENGTH_SHIFT);
            TEXT_LENGTH
        }
        ShortText::AsOthers => {
            write_word(memory, at, STRING);
            write_word(memory, at + u64::from(TEXT_LENGTH), length);
            TEXT_ADDRESS
        }
    };
    write(memory, at + u64::from(start), text.as_bytes());
}

/// A string that has its bytes elsewhere.
fn write_long_text(memory: &File, at: u64, text: &str) {
    write_word(memory, at, STRING | ELSEWHERE);
    write_word(memory, at + u64::from(TEXT_LENGTH), text.len() as u64);
    write_word(memory, at + u64::from(TEXT_ADDRESS), LONG_TEXT);
    write(memory, LONG_TEXT, text.as_bytes());
}

/// `block in refund` of `/srv/große.rb`, which was loaded as `große.rb`, with [`LINES`].
fn planted(layout: &Layout) -> File {
    let memory = tempfile::tempfile().unwrap();
    memory.set_len(0x50_0000).unwrap();
    write_word(&memory, SEQUENCE_AT, SEQUENCE | 1 << 20);
    write_word(&memory, SEQUENCE_AT + u64::from(SEQUENCE_BODY), BODY);
    write(&memory, BODY + u64::from(WORDS), &700_u32.to_ne_bytes());
    write_word(&memory, BODY + u64::from(INSTRUCTIONS), CODE);
    write_word(&memory, BODY + u64::from(FILE), FILE_AT);
    write_word(&memory, BODY + u64::from(LABEL), LABEL_AT);
    let entries = BODY + u64::from(layout.entries);
    write_word(&memory, entries, ENTRIES);
    write(&memory, entries + u64::from(COUNT_AFTER), &u32::try_from(LINES.len()).unwrap().to_ne_bytes());
    write_word(&memory, entries + u64::from(TABLE_AFTER), TABLE_AT);
    for ((_, line), nth) in LINES.iter().zip(0..) {
        write(&memory, ENTRIES + nth * layout.entry_bytes, &line.to_ne_bytes());
    }
    write(&memory, TABLE_AT, &table(&LINES.map(|(begin, _)| begin), 700));
    write_text(&memory, layout, LABEL_AT, "block in refund");
    write_text(&memory, layout, PATH_AT, "große.rb");
    write_long_text(&memory, REAL_PATH_AT, "/srv/große.rb");
    write_word(&memory, FILE_AT, ARRAY | WITHIN);
    write_word(&memory, FILE_AT + u64::from(SECOND_MEMBER) - 8, PATH_AT);
    write_word(&memory, FILE_AT + u64::from(SECOND_MEMBER), REAL_PATH_AT);
    memory
}

/// A frame that runs the instruction at a position of [`LINES`]: it says the next one.
fn frame(position: u64) -> ScriptFrame {
    ScriptFrame { code: SEQUENCE_AT, instruction: CODE + (position + 1) * WORD_BYTES, table: BODY }
}

fn find(cache: &mut SequenceCache, layout: &Layout, memory: File, frame: &ScriptFrame) -> Found {
    let memory = ProcessMemory::planted(memory);
    cache.find(&Process { pid: 1, memory: &memory, layout }, frame)
}

fn found_line(layout: &Layout, memory: File, frame: &ScriptFrame) -> Option<ScriptLine> {
    match find(&mut SequenceCache::default(), layout, memory, frame) {
        Found::Line(line) => Some(line),
        Found::WithoutCode | Found::Nothing => None,
    }
}

#[test]
fn a_sequence_of_each_version_has_a_name_a_file_and_lines() {
    for version in ["2.7.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0"] {
        let layout = layout(version);
        for (position, expected) in [(0, 7), (4, 7), (5, 8), (53, 8), (59, 8), (60, 9), (599, 9), (699, 41)] {
            let found = found_line(&layout, planted(&layout), &frame(position)).unwrap();
            assert_eq!(
                (found.function.as_str(), found.file.as_deref(), found.line),
                ("block in refund", Some("/srv/große.rb"), Some(expected)),
                "{version}, {position}"
            );
        }
    }
}

#[test]
fn code_that_was_made_has_the_path_that_it_was_given() {
    let layout = layout("3.1.2");
    let memory = planted(&layout);
    // `nil`, which is no address.
    write_word(&memory, FILE_AT + u64::from(SECOND_MEMBER), 8);
    assert_eq!(found_line(&layout, memory, &frame(0)).unwrap().file.as_deref(), Some("große.rb"));
    let memory = planted(&layout);
    write_word(&memory, FILE_AT, ARRAY);
    assert_eq!(found_line(&layout, memory, &frame(0)), None, "no array of two has its members elsewhere");
    let memory = planted(&layout);
    write_word(&memory, BODY + u64::from(FILE), PATH_AT);
    assert_eq!(found_line(&layout, memory, &frame(0)).unwrap().file.as_deref(), Some("große.rb"));
}

#[test]
fn a_sequence_of_one_line_has_no_table() {
    let layout = layout("3.1.2");
    let memory = planted(&layout);
    write(&memory, BODY + u64::from(layout.entries + COUNT_AFTER), &1_u32.to_ne_bytes());
    write_word(&memory, BODY + u64::from(layout.entries + TABLE_AFTER), 0);
    assert_eq!(found_line(&layout, memory, &frame(650)).unwrap().line, Some(7));
}

#[test]
fn what_runs_in_c_has_no_line_and_does_not_end_the_stack() {
    let layout = layout("3.1.2");
    let never_run = ScriptFrame { instruction: CODE, ..frame(0) };
    for frame in [ScriptFrame::default(), ScriptFrame { instruction: 0, ..frame(0) }, never_run] {
        let found = find(&mut SequenceCache::default(), &layout, planted(&layout), &frame);
        assert_eq!(found, Found::WithoutCode);
    }
}

#[test]
fn what_took_the_place_of_a_sequence_is_not_taken_for_it() {
    let layout = layout("3.1.2");
    let mut cache = SequenceCache::default();
    assert!(matches!(find(&mut cache, &layout, planted(&layout), &frame(0)), Found::Line(_)));
    for (at, word, what) in [
        (SEQUENCE_AT, 0, "nothing"),
        (SEQUENCE_AT, STRING, "a string"),
        (SEQUENCE_AT, 0x601a, "another part of the machine"),
        (SEQUENCE_AT + u64::from(SEQUENCE_BODY), BODY + 0x1000, "a sequence with another body"),
        (BODY + u64::from(INSTRUCTIONS), CODE + 0x1000, "other instructions"),
        (BODY + u64::from(INSTRUCTIONS), CODE - 0x8000, "instructions that end before"),
        (BODY + u64::from(LABEL), ENTRIES, "a name that is none"),
        (BODY + u64::from(FILE), LABEL_AT + 8, "a file that is none"),
    ] {
        let memory = planted(&layout);
        write_word(&memory, at, word);
        assert_eq!(find(&mut cache, &layout, memory, &frame(0)), Found::Nothing, "{what}");
    }
    // Another one with instructions at the same place.
    let memory = planted(&layout);
    write_text(&memory, &layout, LABEL_AT + 0x1000, "charge");
    write_word(&memory, BODY + u64::from(LABEL), LABEL_AT + 0x1000);
    match find(&mut cache, &layout, memory, &frame(0)) {
        Found::Line(line) => assert_eq!(line.function, "charge"),
        other => assert_eq!(other, Found::Nothing, "the name that it has now"),
    }
}

#[test]
fn numbers_that_a_process_says_are_bounded() {
    let layout = layout("3.1.2");
    let memory = planted(&layout);
    write_word(&memory, REAL_PATH_AT + u64::from(TEXT_LENGTH), u64::MAX);
    assert_eq!(found_line(&layout, memory, &frame(0)).unwrap().file.as_deref(), Some("große.rb"));
    for (offset, words) in [(COUNT_AFTER, 0), (COUNT_AFTER, 2)] {
        let memory = planted(&layout);
        write(&memory, BODY + u64::from(layout.entries + offset), &u32::to_ne_bytes(words));
        assert_eq!(found_line(&layout, memory, &frame(650)), None, "entries that are not there");
    }
    let memory = planted(&layout);
    write_word(&memory, BODY + u64::from(layout.entries), u64::MAX);
    assert_eq!(found_line(&layout, memory, &frame(650)), None);
}

proptest! {
    #[test]
    fn any_memory_is_survived(noise in proptest::collection::vec((0x10_0000_u64..0x50_0000, any::<u64>()), 0..40),
                              code: u64, instruction: u64, table: u64) {
        for version in ["2.7.0", "3.4.0"] {
            let layout = layout(version);
            let memory = planted(&layout);
            for (at, word) in &noise {
                write(&memory, at & !0xf_ff00 | at & 0xff, &word.to_ne_bytes());
            }
            let mut cache = SequenceCache::default();
            find(&mut cache, &layout, memory.try_clone().unwrap(), &ScriptFrame { code, instruction, table });
            find(&mut cache, &layout, memory, &frame(instruction % 800));
        }
    }
}
