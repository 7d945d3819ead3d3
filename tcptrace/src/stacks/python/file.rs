//! Whether a file holds Python's virtual machine, and which: the program itself, or a libpython. By the names that it
//! exports; what its own name says counts for nothing.

use std::{fs::File, ops::Range};

use super::layout::{self, DEBUG_OFFSETS_BYTES, Layout};
use crate::stacks::{
    elf::{BoundedFile, Elf, Segment},
    scripts::variable::read_by,
};

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

/// Returns the first interpreter, which 3.6 keeps in a variable without a name for others: it has no `_PyRuntime`.
const FIRST_INTERPRETER: &str = "PyInterpreterState_Head";

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
    let runtime = if minor == 6 { read_by(elf, FIRST_INTERPRETER) } else { runtime }?;
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
