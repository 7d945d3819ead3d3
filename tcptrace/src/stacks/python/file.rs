//! Whether a file holds Python's virtual machine, and which: the program itself, or a libpython. By the names that it
//! exports; what its own name says counts for nothing.

use std::{fs::File, ops::Range};

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

use super::layout::{self, DEBUG_OFFSETS_BYTES, Layout};
use crate::stacks::elf::{BoundedFile, Elf, Segment};

/// A file that holds Python. Addresses are those that the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stacks) struct PythonFile {
    pub(in crate::stacks) segments: Vec<Segment>,
    /// `_PyRuntime`, or the first interpreter of 3.6.
    pub(in crate::stacks) runtime: u64,
    /// `PyCode_Type`, `PyUnicode_Type` and `PyBytes_Type`.
    pub(in crate::stacks) code_type: u64,
    pub(in crate::stacks) text_type: u64,
    pub(in crate::stacks) bytes_type: u64,
    /// Its machine code.
    pub(in crate::stacks) machine_code: Range<u64>,
    /// The function that runs lines, as far as it is known.
    pub(in crate::stacks) evaluates: Range<u64>,
    pub(in crate::stacks) layout: Layout,
    /// Which Python 3 it is.
    pub(in crate::stacks) minor: u8,
}

/// Names that tell versions before 3.11, which has one with the number in it.
const SINCE_3_6: &str = "PyOS_FSPath";
const SINCE_3_7: &str = "PyThread_tss_create";
const SINCE_3_8: &str = "PyCode_NewWithPosOnlyArgs";
const SINCE_3_9: &str = "PyThreadState_GetFrame";
const SINCE_3_10: &str = "PyModule_AddObjectRef";

/// Which Python 3 a file holds, by its minor version, if its lines can be read.
pub(in crate::stacks) fn version(file: File) -> Option<u8> {
    let file = BoundedFile::new(file);
    read(&Elf::read(&file)?).map(|python| python.minor)
}

/// Where 3.6, which has no `_PyRuntime`, keeps its first interpreter: in a variable without a name for others, which one
/// function returns. Of x86-64 only.
fn first_interpreter(elf: &Elf<'_>) -> Option<u64> {
    const LONGEST: u64 = 32;
    let function = elf.exported_range("PyInterpreterState_Head").filter(|_| cfg!(target_arch = "x86_64"))?;
    let code = elf.at(function.start, function.end.saturating_sub(function.start).min(LONGEST))?;
    loaded(code, function.start)
}

/// The address of what a function of x86-64, which is at an address itself, loads first.
fn loaded(code: &[u8], address: u64) -> Option<u64> {
    let loads = |instruction: &Instruction| {
        instruction.mnemonic() == Mnemonic::Mov && instruction.is_ip_rel_memory_operand()
    };
    let mut instructions = Decoder::with_ip(64, code, address, DecoderOptions::NONE).into_iter();
    instructions.find(loads).map(|instruction| instruction.ip_rel_memory_address())
}

/// Reads it from a file; `None` of a version that is not known here, too.
pub(in crate::stacks) fn read(elf: &Elf<'_>) -> Option<PythonFile> {
    let [runtime, code_type, text_type, bytes_type, version, of_3_6, of_3_7, of_3_8, of_3_9, of_3_10] =
        elf.exported([
            "_PyRuntime",
            "PyCode_Type",
            "PyUnicode_Type",
            "PyBytes_Type",
            "Py_Version",
            SINCE_3_6,
            SINCE_3_7,
            SINCE_3_8,
            SINCE_3_9,
            SINCE_3_10,
        ])?;
    let minor = match version {
        Some(version) => {
            let number = u32::from_le_bytes(*elf.at(version, 4)?.first_chunk()?);
            u8::try_from(number >> 16 & 0xff).ok().filter(|_| number >> 24 == 3)?
        }
        None if of_3_10.is_some() => 10,
        None if of_3_9.is_some() => 9,
        None if of_3_8.is_some() => 8,
        None if of_3_7.is_some() => 7,
        None if of_3_6.is_some() => 6,
        None => return None,
    };
    let runtime = if minor == 6 { first_interpreter(elf) } else { runtime }?;
    // Before 3.13 nothing is said there, and the file has no bytes of it.
    let said = if minor < 13 { None } else { elf.at(runtime, DEBUG_OFFSETS_BYTES) };
    Some(PythonFile {
        segments: elf.segments().collect(),
        runtime,
        code_type: code_type?,
        text_type: text_type?,
        bytes_type: bytes_type?,
        machine_code: elf.machine_code()?,
        evaluates: elf.exported_range("_PyEval_EvalFrameDefault").unwrap_or_default(),
        layout: layout::of_version(minor, said)?,
        minor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_returns_is_where_it_loads_it_from() {
        // `PyInterpreterState_Head` of 3.6.15: mov 0x18a349(%rip),%rax; ret. Others begin with endbr64.
        let returns = [0x48, 0x8b, 0x05, 0x49, 0xa3, 0x18, 0x00, 0xc3];
        assert_eq!(loaded(&returns, 0x17_4b90), Some(0x2f_eee0));
        let marked = [&[0xf3, 0x0f, 0x1e, 0xfa], &returns[..]].concat();
        assert_eq!(loaded(&marked, 0x17_4b8c), Some(0x2f_eee0));
        assert_eq!(loaded(&[0x31, 0xc0, 0xc3], 0x1000), None);
        assert_eq!(loaded(&returns[..5], 0x1000), None, "it ends early");
        assert_eq!(loaded(&[], 0), None);
    }
}
