//! Reads the names and lines of instruction sequences of a process, and keeps the names. The process may hold anything: every
//! read is bounded, and what is kept is used only as long as the sequence says the same.
//!
//! A frame says the instruction behind the one that it runs. The machine saves that before it calls a function that may raise,
//! and so does code that its JITs made, or backtraces would have wrong lines (`jit_save_pc` of yjit/src/codegen.rs).

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tcptrace_ebpf::interpreter::ScriptFrame;

use super::{
    layout::{
        ARRAY, COUNT_AFTER, ELSEWHERE, FILE, INSTRUCTIONS, LABEL, LENGTH_MASK, LENGTH_SHIFT, Layout,
        SECOND_MEMBER, SEQUENCE, SEQUENCE_BODY, SEQUENCE_FLAGS, SEQUENCE_MASK, STRING, ShortText,
        TABLE_AFTER, TEXT_ADDRESS, TEXT_LENGTH, TYPE_MASK, WITHIN, WORDS,
    },
    positions,
};
use crate::stacks::{
    memory::{ProcessMemory, u32_at, u64_at},
    point::{ScriptLanguage, ScriptLine},
};

/// Sequences that are kept, and the bytes of their names; beyond, all are forgotten.
const MOST_SEQUENCES: usize = 8_192;
const MOST_BYTES: usize = 16 << 20;

/// Most bytes of a name.
const MOST_TEXT_BYTES: usize = 4_096;

/// What is read at once of a sequence, of its body, and of a string or an array.
const HEAD_BYTES: usize = 24;
const BODY_BYTES: usize = 160;
const OBJECT_BYTES: usize = 40;

/// Bytes of an instruction, and of each of its operands.
const WORD_BYTES: u64 = 8;

/// A process at hand.
pub(super) struct Process<'a> {
    pub(super) pid: u32,
    pub(super) memory: &'a ProcessMemory,
    pub(super) layout: &'a Layout,
}

/// What a frame is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Line(ScriptLine),
    /// A function of the machine or of an extension, or what a thread begins with.
    WithoutCode,
    /// No sequence, or another one than at the time of the call.
    Nothing,
}

/// What identifies a sequence. Its memory may come to hold another one, and its names may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    words: u32,
    instructions: u64,
    file: u64,
    label: u64,
    entries: u64,
    count: u32,
    table: u64,
}

/// The names of a sequence.
#[derive(Debug)]
struct Names {
    identity: Identity,
    function: String,
    file: String,
}

/// Names by the process and the address of the sequence's body.
#[derive(Default)]
pub(super) struct SequenceCache {
    known: FxHashMap<(u32, u64), Arc<Names>>,
    bytes: usize,
}

impl SequenceCache {
    /// What a frame is, and the line at which it was.
    pub(super) fn find(&mut self, process: &Process<'_>, frame: &ScriptFrame) -> Found {
        // What runs in a block of C has something else in place of a sequence, and no instruction.
        if frame.code == 0 || frame.instruction == 0 {
            return Found::WithoutCode;
        }
        self.run(process, frame).unwrap_or(Found::Nothing)
    }

    /// What a frame is that runs a sequence.
    fn run(&mut self, process: &Process<'_>, frame: &ScriptFrame) -> Option<Found> {
        let now = identity(process, frame)?;
        // What the main thread begins with has one that it never runs (`Init_VM` of vm.c).
        if frame.instruction == now.instructions {
            return Some(Found::WithoutCode);
        }
        let line = line(process, &now, frame.instruction)?;
        let key = (process.pid, frame.table);
        let names = match self.known.get(&key).filter(|names| names.identity == now) {
            Some(names) => Arc::clone(names),
            None => self.keep(key, names(process, now)?),
        };
        // It may have become another one while it was read.
        (identity(process, frame)? == now).then(|| {
            Found::Line(ScriptLine {
                language: ScriptLanguage::Ruby,
                function: names.function.clone(),
                file: Some(names.file.clone()),
                line: Some(line).filter(|line| *line > 0),
                package: None,
            })
        })
    }

    fn keep(&mut self, key: (u32, u64), names: Names) -> Arc<Names> {
        let size = names.function.len() + names.file.len();
        if self.known.len() >= MOST_SEQUENCES || self.bytes + size > MOST_BYTES {
            *self = Self::default();
        }
        self.bytes += size;
        let names = Arc::new(names);
        self.known.insert(key, Arc::clone(&names));
        names
    }
}

/// What the sequence of a frame is now; `None` where it is not the one of the call.
fn identity(process: &Process<'_>, frame: &ScriptFrame) -> Option<Identity> {
    let head: [u8; HEAD_BYTES] = process.memory.read(frame.code)?;
    let is_sequence = u64_at(&head, SEQUENCE_FLAGS)? & SEQUENCE_MASK == SEQUENCE;
    if !is_sequence || u64_at(&head, SEQUENCE_BODY)? != frame.table {
        return None;
    }
    let body: [u8; BODY_BYTES] = process.memory.read(frame.table)?;
    let entries = process.layout.entries;
    let found = Identity {
        words: u32_at(&body, WORDS)?,
        instructions: u64_at(&body, INSTRUCTIONS)?,
        file: u64_at(&body, FILE)?,
        label: u64_at(&body, LABEL)?,
        entries: u64_at(&body, entries)?,
        count: u32_at(&body, entries + COUNT_AFTER)?,
        table: u64_at(&body, entries + TABLE_AFTER)?,
    };
    let distance = frame.instruction.checked_sub(found.instructions)?;
    (distance <= u64::from(found.words) * WORD_BYTES).then_some(found)
}

/// The line of the instruction before an address, which is the one that runs (`calc_pos` of vm_backtrace.c).
fn line(process: &Process<'_>, sequence: &Identity, instruction: u64) -> Option<u32> {
    let words = instruction.checked_sub(sequence.instructions)? / WORD_BYTES;
    let position = u32::try_from(words).ok()?.saturating_sub(1);
    let nth = match sequence.count {
        0 => return None,
        1 => 0,
        _ => positions::rank(process.memory, sequence.table, position)?.checked_sub(1)?,
    };
    if nth >= sequence.count {
        return None;
    }
    let offset = u64::from(nth) * process.layout.entry_bytes;
    process.memory.read(sequence.entries.checked_add(offset)?).map(u32::from_ne_bytes)
}

fn names(process: &Process<'_>, identity: Identity) -> Option<Names> {
    let function = text(process, identity.label)?;
    Some(Names { identity, function, file: file(process, identity.file)? })
}

/// The path of a file: a string, or an array of that and of its real path, which code that was made has not.
fn file(process: &Process<'_>, address: u64) -> Option<String> {
    let array: [u8; OBJECT_BYTES] = process.memory.read(address)?;
    let flags = u64_at(&array, 0)?;
    if flags & TYPE_MASK != ARRAY {
        return text(process, address);
    }
    if flags & WITHIN == 0 {
        return None;
    }
    let path = || text(process, u64_at(&array, SECOND_MEMBER - 8)?);
    text(process, u64_at(&array, SECOND_MEMBER)?).or_else(path)
}

/// The text of a string that is not empty.
fn text(process: &Process<'_>, address: u64) -> Option<String> {
    let object: [u8; OBJECT_BYTES] = process.memory.read(address)?;
    let flags = u64_at(&object, 0)?;
    if flags & TYPE_MASK != STRING {
        return None;
    }
    let length = u64_at(&object, TEXT_LENGTH)?;
    let (start, length) = match process.layout.short_text {
        _ if flags & ELSEWHERE != 0 => (u64_at(&object, TEXT_ADDRESS)?, length),
        ShortText::InFlags => (address.checked_add(TEXT_LENGTH.into())?, flags >> LENGTH_SHIFT & LENGTH_MASK),
        ShortText::AsOthers => (address.checked_add(TEXT_ADDRESS.into())?, length),
    };
    let bytes = process.memory.bytes(start, length, MOST_TEXT_BYTES)?;
    Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
