//! Reads the names of functions of a process, and keeps them. The process may hold anything: every read is bounded, and what is
//! kept is used only as long as the function says the same.
//!
//! The line was read at the call, where `EX(opline)` points: the machine saves that before it calls a function, and so does
//! code that its JIT made, or warnings would have wrong lines (`SAVE_OPLINE` of Zend/zend_execute.c, `zend_jit_do_fcall` of
//! ext/opcache/jit).

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tcptrace_ebpf::interpreter::{PHP_NAMELESS, ScriptFrame};

use super::layout::{
    CLASS, CLASS_NAME, EVAL_CODE, FIRST_LINE_AFTER, INTERNAL_FUNCTION, KIND, LAST_LINE_AFTER, Layout, NAME,
    TEXT_HASH, TEXT_LENGTH, TEXT_START, USER_FUNCTION,
};
use crate::stacks::{
    memory::{ProcessMemory, u32_at, u64_at},
    point::{ScriptLanguage, ScriptLine},
};

/// Functions that are kept, and the bytes of their names; beyond, all are forgotten.
const MOST_FUNCTIONS: usize = 8_192;
const MOST_BYTES: usize = 16 << 20;

/// Most bytes of a name.
const MOST_TEXT_BYTES: usize = 4_096;

/// What is read of any function at once, and of one with lines.
const HEAD_BYTES: usize = 24;
const USER_HEAD_BYTES: usize = 184;

/// What code is called that is in no function.
const MAIN: &str = "{main}";

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
    /// A function of the machine's own that has no name, as that below which a fiber runs.
    Unnamed,
    /// No function, or another one than at the time of the call.
    Nothing,
}

/// What identifies code with lines. Nobody changes any of it as long as the code lives, but its memory may come to hold
/// other code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    /// 0 of what is in no function.
    name: u64,
    class: u64,
    file: u64,
    file_hash: u64,
}

/// The names of some code.
#[derive(Debug)]
struct Names {
    identity: Identity,
    function: String,
    file: String,
}

/// Names by the process and the address of the function, or of the file's name.
#[derive(Default)]
pub(super) struct FunctionCache {
    known: FxHashMap<(u32, u64), Arc<Names>>,
    bytes: usize,
}

impl FunctionCache {
    /// What a frame is, and the line at which it was.
    pub(super) fn find(&mut self, process: &Process<'_>, frame: &ScriptFrame) -> Found {
        let found = if frame.code & !PHP_NAMELESS == 0 {
            None
        } else if frame.code & PHP_NAMELESS == 0 {
            self.function(process, frame)
        } else if frame.table == 0 {
            Some(Found::Unnamed)
        } else {
            self.line(process, frame, frame.table, |_| Some((0, 0)))
        };
        found.unwrap_or(Found::Nothing)
    }

    fn function(&mut self, process: &Process<'_>, frame: &ScriptFrame) -> Option<Found> {
        let head: [u8; HEAD_BYTES] = process.memory.read(frame.code)?;
        match *head.get(usize::try_from(KIND).ok()?)? {
            INTERNAL_FUNCTION => internal(process.memory, &head),
            USER_FUNCTION | EVAL_CODE => self.line(process, frame, frame.code, |line| {
                let head: [u8; USER_HEAD_BYTES] = process.memory.read(frame.code)?;
                let file = process.layout.file;
                let first = u32_at(&head, file + FIRST_LINE_AFTER)?;
                let last = u32_at(&head, file + LAST_LINE_AFTER)?;
                let is_same =
                    u64_at(&head, file)? == frame.table && (line == 0 || (first..=last).contains(&line));
                is_same.then_some((u64_at(&head, NAME)?, u64_at(&head, CLASS)?))
            }),
            _ => None,
        }
    }

    /// The line of a frame, whose names are kept by `address`. `names` says where the name and the class of the function are now
    /// that has this line; `None` where there is another function than at the time of the call.
    fn line(
        &mut self,
        process: &Process<'_>,
        frame: &ScriptFrame,
        address: u64,
        names: impl Fn(u32) -> Option<(u64, u64)>,
    ) -> Option<Found> {
        let (line, hash) = (lower_half(frame.instruction), lower_half(frame.instruction >> 32));
        let identity = || {
            let (name, class) = names(line)?;
            let file_hash = word(process.memory, frame.table, TEXT_HASH)?;
            (lower_half(file_hash) == hash).then_some(Identity { name, class, file: frame.table, file_hash })
        };
        let now = identity()?;
        let key = (process.pid, address);
        let names = match self.known.get(&key).filter(|names| names.identity == now) {
            Some(names) => Arc::clone(names),
            // It may have become another one while it was read.
            None => self.keep(key, read(process.memory, now).filter(|_| identity() == Some(now))?),
        };
        Some(Found::Line(ScriptLine {
            language: ScriptLanguage::Php,
            function: names.function.clone(),
            file: Some(names.file.clone()),
            line: Some(line).filter(|line| *line > 0),
            package: None,
        }))
    }

    fn keep(&mut self, key: (u32, u64), names: Names) -> Arc<Names> {
        let size = names.function.len() + names.file.len();
        if self.known.len() >= MOST_FUNCTIONS || self.bytes + size > MOST_BYTES {
            *self = Self::default();
        }
        self.bytes += size;
        let names = Arc::new(names);
        self.known.insert(key, Arc::clone(&names));
        names
    }
}

fn lower_half(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The number at a place of a structure.
fn word(memory: &ProcessMemory, address: u64, offset: u32) -> Option<u64> {
    memory.read(address.checked_add(offset.into())?).map(u64::from_ne_bytes)
}

/// A function of the machine or of an extension. It has no file and no lines.
fn internal(memory: &ProcessMemory, head: &[u8]) -> Option<Found> {
    Some(Found::Line(ScriptLine {
        language: ScriptLanguage::Php,
        function: qualified(memory, u64_at(head, NAME)?, u64_at(head, CLASS)?)?,
        file: None,
        line: None,
        package: None,
    }))
}

fn read(memory: &ProcessMemory, identity: Identity) -> Option<Names> {
    let Identity { name, class, file, .. } = identity;
    let function = if name == 0 { MAIN.to_owned() } else { qualified(memory, name, class)? };
    Some(Names { identity, function, file: text(memory, file)? })
}

/// A name with that of its class: `Ledger::open`.
fn qualified(memory: &ProcessMemory, name: u64, class: u64) -> Option<String> {
    let name = text(memory, name)?;
    if class == 0 {
        return Some(name);
    }
    let class = word(memory, class, CLASS_NAME)?;
    Some(format!("{}::{name}", text(memory, class)?))
}

/// The text of a `zend_string`. Of a class without a name, a zero byte and its place follow (`class@anonymous`).
fn text(memory: &ProcessMemory, address: u64) -> Option<String> {
    let length = word(memory, address, TEXT_LENGTH)?;
    let bytes = memory.bytes(address.checked_add(TEXT_START.into())?, length, MOST_TEXT_BYTES)?;
    let named = bytes.split(|byte| *byte == 0).next().filter(|named| !named.is_empty())?;
    Some(String::from_utf8_lossy(named).into_owned())
}

#[cfg(test)]
mod tests;
