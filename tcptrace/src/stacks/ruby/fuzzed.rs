//! For the fuzz targets: what is read of a file and of instruction sequences, of no process.

use std::fs::File;

use tcptrace_ebpf::interpreter::ScriptFrame;

use super::{
    code::{Found, Process, SequenceCache},
    file::version,
    layout::{self, LOCK_BYTES},
};
use crate::stacks::{memory::ProcessMemory, point::ScriptLine};

/// Whether a file holds a Ruby that is known here.
#[must_use]
pub fn holds_ruby(file: File) -> bool {
    version(file).is_some()
}

/// The line of a frame (its sequence, instruction and body) of Ruby 2.`minor`, or 3.`minor` where that is less than 7. In the
/// memory each byte stands at its address.
#[must_use]
pub fn script_line(memory: File, minor: u8, [code, instruction, table]: [u64; 3]) -> Option<ScriptLine> {
    let major = if minor < 7 { 3 } else { 2 };
    let layout = layout::of_version(&format!("{major}.{minor}.0"), LOCK_BYTES)?;
    let memory = ProcessMemory::planted(memory);
    let process = Process { pid: 1, memory: &memory, layout: &layout };
    match SequenceCache::default().find(&process, &ScriptFrame { code, instruction, table }) {
        Found::Line(line) => Some(line),
        Found::WithoutCode | Found::Nothing => None,
    }
}
