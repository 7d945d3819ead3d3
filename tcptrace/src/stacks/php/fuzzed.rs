//! For the fuzz targets: what is read of a file and of functions, of no process.

use std::fs::File;

use tcptrace_ebpf::interpreter::ScriptFrame;

use super::{
    code::{Found, FunctionCache, Process},
    file::version,
    layout,
};
use crate::stacks::{memory::ProcessMemory, point::ScriptLine};

/// Whether a file holds a PHP that is known here.
#[must_use]
pub fn holds_php(file: File) -> bool {
    version(file).is_some()
}

/// The line of a frame (its function, instruction and table) of the PHP whose extensions have this `api` number. In the memory
/// each byte stands at its address.
#[must_use]
pub fn script_line(memory: File, api: u32, [code, instruction, table]: [u64; 3]) -> Option<ScriptLine> {
    let layout = layout::of_api(api)?;
    let memory = ProcessMemory::planted(memory);
    let process = Process { pid: 1, memory: &memory, layout: &layout };
    match FunctionCache::default().find(&process, &ScriptFrame { code, instruction, table }) {
        Found::Line(line) => Some(line),
        Found::Unnamed | Found::Nothing => None,
    }
}
