//! For the fuzz targets: what is read of a file and of code objects, of no process.

use std::fs::File;

use tcptrace_ebpf::interpreter::ScriptFrame;

use super::{
    code::{CodeCache, Process, Types},
    file::version,
    layout,
};
use crate::stacks::{memory::ProcessMemory, point::ScriptLine};

/// Whether a file holds a Python that is known here.
#[must_use]
pub fn holds_python(file: File) -> bool {
    version(file).is_some()
}

/// The line of a frame (its code object, instruction and line table) of Python 3.`minor`, whose `_PyRuntime` begins with
/// `runtime`. In the memory each byte stands at its address; `types` are those of code, texts and bytes.
#[must_use]
pub fn script_line(
    memory: File,
    minor: u8,
    runtime: &[u8],
    types: [u64; 3],
    [code, instruction, table]: [u64; 3],
) -> Option<ScriptLine> {
    let layout = layout::of_version(minor, Some(runtime))?;
    let [code_type, text, bytes] = types;
    let types = Types { code: code_type, text, bytes };
    let memory = ProcessMemory::planted(memory);
    let process = Process { pid: 1, memory: &memory, layout: &layout, types };
    CodeCache::default().line(&process, &ScriptFrame { code, instruction, table })
}
