//! Reads names and lines from the code objects of a process, and keeps them. The process may hold anything: every read is
//! bounded, and what is kept is used only as long as the code object says the same.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tcptrace_ebpf::interpreter::ScriptFrame;

use super::{
    layout::{
        BYTES_LENGTH, BYTES_START, CodeLayout, Instructions, Layout, LineFormat, OBJECT_TYPE, TextLayout,
    },
    lines,
};
use crate::stacks::{
    memory::{ProcessMemory, u32_at, u64_at},
    point::{ScriptLanguage, ScriptLine},
};

/// Code objects that are kept, and the bytes of their names and tables; beyond, all are forgotten.
const MOST_OBJECTS: usize = 8_192;
const MOST_BYTES: usize = 16 << 20;

/// Most bytes of a name, and of a table of lines. Tables of generated modules have some hundred KiB.
const MOST_TEXT_BYTES: usize = 4_096;
const MOST_TABLE_BYTES: usize = 1 << 20;

/// What is read of a code object at once.
const HEAD_BYTES: usize = 160;

/// The beginning of a string object: its length and how wide its characters are.
const TEXT_HEAD_BYTES: usize = 40;

/// Where the types of a process are, by which objects are recognized.
#[derive(Clone, Copy, Debug)]
pub(super) struct Types {
    pub(super) code: u64,
    pub(super) text: u64,
    pub(super) bytes: u64,
}

/// A process at hand.
pub(super) struct Process<'a> {
    pub(super) pid: u32,
    pub(super) memory: &'a ProcessMemory,
    pub(super) layout: &'a Layout,
    pub(super) types: Types,
}

/// What identifies a code object: nobody changes these pointers and this number as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    filename: u64,
    name: u64,
    line_table: u64,
    first_line: i32,
}

/// What is known of a code object.
#[derive(Debug)]
struct Code {
    identity: Identity,
    function: String,
    file: String,
    table: Vec<u8>,
    format: LineFormat,
}

/// Code objects by their process and address.
#[derive(Default)]
pub(super) struct CodeCache {
    known: FxHashMap<(u32, u64), Arc<Code>>,
    bytes: usize,
}

impl CodeCache {
    /// The line at which a frame is. `None` of what is no code object, or another one than at the time of the call.
    pub(super) fn line(&mut self, process: &Process<'_>, frame: &ScriptFrame) -> Option<ScriptLine> {
        let head: [u8; HEAD_BYTES] = process.memory.read(frame.code)?;
        let CodeLayout { instructions, .. } = process.layout.code;
        let identity = identity(&process.layout.code, &head)?;
        if u64_at(&head, OBJECT_TYPE)? != process.types.code || identity.line_table != frame.table {
            return None;
        }
        let key = (process.pid, frame.code);
        let known = self.known.get(&key).filter(|code| code.identity == identity).cloned();
        let code = match known {
            Some(code) => code,
            None => self.keep(key, read(process, identity)?),
        };
        let offset = offset(instructions, frame);
        let line = match offset {
            Some(offset) => lines::line(code.format, &code.table, identity.first_line, offset),
            // A frame that has not begun.
            None => u32::try_from(identity.first_line).ok().filter(|line| *line > 0),
        };
        Some(ScriptLine {
            language: ScriptLanguage::Python,
            function: code.function.clone(),
            file: Some(code.file.clone()),
            line,
            package: None,
        })
    }

    fn keep(&mut self, key: (u32, u64), code: Code) -> Arc<Code> {
        let size = code.function.len() + code.file.len() + code.table.len();
        if self.known.len() >= MOST_OBJECTS || self.bytes + size > MOST_BYTES {
            *self = Self::default();
        }
        self.bytes += size;
        let code = Arc::new(code);
        self.known.insert(key, Arc::clone(&code));
        code
    }
}

fn identity(layout: &CodeLayout, head: &[u8]) -> Option<Identity> {
    Some(Identity {
        filename: u64_at(head, layout.filename)?,
        name: u64_at(head, layout.name)?,
        line_table: u64_at(head, layout.line_table)?,
        first_line: u32_at(head, layout.first_line)?.cast_signed(),
    })
}

/// Where in its code a frame is, in bytes.
fn offset(instructions: Instructions, frame: &ScriptFrame) -> Option<u64> {
    match instructions {
        // The lower half is the index, a signed number: -1 before the first instruction.
        Instructions::Index(bytes) => {
            let [a, b, c, d, ..] = frame.instruction.to_le_bytes();
            let index = u64::try_from(i32::from_le_bytes([a, b, c, d])).ok()?;
            Some(index * u64::from(bytes))
        }
        Instructions::Address(start) => frame.instruction.checked_sub(frame.code.checked_add(start.into())?),
    }
}

fn read(process: &Process<'_>, identity: Identity) -> Option<Code> {
    let Process { memory, layout, types, .. } = process;
    Some(Code {
        identity,
        function: text(memory, &layout.text, types.text, identity.name)?,
        file: text(memory, &layout.text, types.text, identity.filename)?,
        table: bytes(memory, types.bytes, identity.line_table)?,
        format: layout.code.lines,
    })
}

/// The bytes of a `PyBytesObject`.
fn bytes(memory: &ProcessMemory, bytes_type: u64, address: u64) -> Option<Vec<u8>> {
    let head: [u8; 24] = memory.read(address)?;
    let length = u64_at(&head, BYTES_LENGTH).filter(|_| u64_at(&head, OBJECT_TYPE) == Some(bytes_type))?;
    memory.bytes(address.checked_add(BYTES_START.into())?, length, MOST_TABLE_BYTES)
}

/// The text of a `PyUnicodeObject`: its characters stand behind its head, as wide as its widest (PEP 393).
fn text(memory: &ProcessMemory, layout: &TextLayout, text_type: u64, address: u64) -> Option<String> {
    const KIND: u32 = 2;
    const IS_COMPACT: u32 = 1 << 5;
    const IS_ASCII: u32 = 1 << 6;
    let head: [u8; TEXT_HEAD_BYTES] = memory.read(address)?;
    let (length, state) = (u64_at(&head, layout.length)?, u32_at(&head, layout.state)?);
    if u64_at(&head, OBJECT_TYPE)? != text_type || state & IS_COMPACT == 0 {
        return None;
    }
    let width = state >> KIND & 7;
    let start = if state & IS_ASCII == 0 { layout.other } else { layout.ascii };
    let size = length.checked_mul(width.into())?;
    let bytes = memory.bytes(address.checked_add(start.into())?, size, MOST_TEXT_BYTES)?;
    let character = |number: u32| char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
    Some(match width {
        1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        2 => bytes.as_chunks().0.iter().map(|two| character(u16::from_ne_bytes(*two).into())).collect(),
        4 => bytes.as_chunks().0.iter().map(|four| character(u32::from_ne_bytes(*four))).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
