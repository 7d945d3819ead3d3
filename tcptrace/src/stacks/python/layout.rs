//! Where each version of Python keeps what leads from `_PyRuntime` to a line of code. Knows CPython 3.6 to 3.15 of 64
//! bits; x86-64 and aarch64 are alike. Reads nothing.
//!
//! From 3.13 on `_PyRuntime` begins with a table of offsets for debuggers (`_Py_DebugOffsets` of
//! Include/internal/pycore_runtime.h, since 3.14 pycore_debug_offsets.h). The numbers of earlier versions are those of the
//! headers of CPython 3.6.15, 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.7 and 3.12.1, as a compiler says them. They do not change within a
//! minor version: extensions are built against these structures.

use tcptrace_ebpf::interpreter::{ABSENT, ALL_BITS, FrameWalk, PYTHON_ENTRY, ScriptFrame};

use crate::stacks::memory::u64_at;

/// Bytes at the begin of `_PyRuntime` that a layout may be told by.
pub(super) const DEBUG_OFFSETS_BYTES: u64 = 760;

/// The layout of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stacks) struct Layout {
    pub(in crate::stacks) walk: FrameWalk,
    pub(super) code: CodeLayout,
    pub(super) text: TextLayout,
}

impl Layout {
    /// Whether the machine was called for this frame, and not for an outer one: before 3.11 for each, in 3.11 where the frame
    /// says so. Later versions have another frame for the call.
    pub(super) fn begins_call(&self, frame: &ScriptFrame) -> bool {
        self.walk.owner == ABSENT || frame.code & PYTHON_ENTRY != 0
    }
}

/// Offsets into `PyCodeObject`, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodeLayout {
    pub(super) filename: u32,
    /// The qualified name since 3.11, the plain one before.
    pub(super) name: u32,
    pub(super) first_line: u32,
    pub(super) line_table: u32,
    pub(super) instructions: Instructions,
    pub(super) lines: LineFormat,
}

/// How a frame says its instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    /// By its index, of instructions of so many bytes.
    Index(u32),
    /// By its address; the code begins at this offset into the code object.
    Address(u32),
}

/// How lines are told by instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// `co_lnotab`, until 3.9 (Objects/lnotab_notes.txt of 3.9).
    Lnotab,
    /// `co_linetable` of 3.10 (PEP 626, Objects/lnotab_notes.txt of 3.10).
    Linetable,
    /// `co_linetable` since 3.11 (Objects/locations.md of 3.11).
    Locations,
}

/// Offsets into strings and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextLayout {
    /// Of `PyASCIIObject`: the length in characters.
    pub(super) length: u32,
    /// Of `PyASCIIObject`: bits that say how wide they are.
    pub(super) state: u32,
    /// Where the characters begin, of text that is ASCII only.
    pub(super) ascii: u32,
    /// The same, of other text.
    pub(super) other: u32,
}

/// Where every object has its type.
pub(super) const OBJECT_TYPE: u32 = 8;
/// Of `PyBytesObject`: the length, and the bytes.
pub(super) const BYTES_LENGTH: u32 = 16;
pub(super) const BYTES_START: u32 = 32;

/// `PyASCIIObject` and `PyCompactUnicodeObject`, which had one pointer more each until 3.11.
const TEXT_UNTIL_3_11: TextLayout = TextLayout { length: 16, state: 32, ascii: 48, other: 72 };
const TEXT: TextLayout = TextLayout { length: 16, state: 32, ascii: 40, other: 56 };

/// The layout of a version, by its minor number. `runtime` is what `_PyRuntime` begins with.
pub(super) fn of_version(minor: u8, runtime: Option<&[u8]>) -> Option<Layout> {
    match minor {
        6 => Some(until_3_10(&PYTHON_3_6)),
        7 => Some(until_3_10(&PYTHON_3_7)),
        8 | 9 => Some(until_3_10(&PYTHON_3_8)),
        10 => Some(until_3_10(&PYTHON_3_10)),
        11 => Some(of_3_11()),
        12 => Some(of_3_12()),
        13 => of_debug_offsets(minor, runtime?, &DEBUG_OFFSETS_3_13),
        14 => of_debug_offsets(minor, runtime?, &DEBUG_OFFSETS_3_14),
        15 => of_debug_offsets(minor, runtime?, &DEBUG_OFFSETS_3_15),
        _ => None,
    }
}

/// What differs between the versions until 3.10.
struct Until310 {
    interpreters: u32,
    thread_id: u32,
    instruction: u32,
    instruction_bytes: u32,
    /// Of `PyCodeObject`: the names of its file and of itself, which the table of lines follows.
    names: u32,
    first_line: u32,
    lines: LineFormat,
}

/// Its root is the first interpreter, which stands alone.
const PYTHON_3_6: Until310 = Until310 { interpreters: 0, thread_id: 152, instruction: 120, ..PYTHON_3_7 };
const PYTHON_3_7: Until310 = Until310 { interpreters: 24, names: 96, first_line: 36, ..PYTHON_3_8 };
const PYTHON_3_8: Until310 = Until310 {
    interpreters: 32,
    thread_id: 176,
    instruction: 104,
    instruction_bytes: 1,
    names: 104,
    first_line: 40,
    lines: LineFormat::Lnotab,
};
const PYTHON_3_10: Until310 =
    Until310 { instruction: 96, instruction_bytes: 2, lines: LineFormat::Linetable, ..PYTHON_3_8 };

fn until_3_10(of: &Until310) -> Layout {
    let line_table = of.names + 16;
    let walk = FrameWalk {
        is_native: ALL_BITS,
        is_direct: ALL_BITS,
        is_ring: 0,
        machine: ABSENT,
        interpreters: of.interpreters,
        next_interpreter: 0,
        threads: 8,
        next_thread: 8,
        native_thread: 0,
        thread_id: of.thread_id,
        frame: 24,
        frame_of_cframe: 0,
        previous: 24,
        code: 32,
        instruction: of.instruction,
        owner: ABSENT,
        table: line_table,
        is_entry: ABSENT,
        file_hash: ABSENT,
        line: ABSENT,
    };
    let code = CodeLayout {
        filename: of.names,
        name: of.names + 8,
        first_line: of.first_line,
        line_table,
        instructions: Instructions::Index(of.instruction_bytes),
        lines: of.lines,
    };
    Layout { walk, code, text: TEXT_UNTIL_3_11 }
}

fn of_3_11() -> Layout {
    let walk = FrameWalk {
        is_native: ALL_BITS,
        is_direct: 0,
        is_ring: 0,
        machine: ABSENT,
        interpreters: 40,
        next_interpreter: 0,
        threads: 16,
        next_thread: 8,
        native_thread: 0,
        thread_id: 152,
        frame: 56,
        frame_of_cframe: 8,
        previous: 48,
        code: 32,
        instruction: 56,
        owner: 69,
        table: 136,
        is_entry: 68,
        file_hash: ABSENT,
        line: ABSENT,
    };
    Layout { walk, code: code_since_3_11(72, 184), text: TEXT_UNTIL_3_11 }
}

fn of_3_12() -> Layout {
    let walk = FrameWalk {
        is_native: ALL_BITS,
        is_direct: 0,
        is_ring: 0,
        machine: ABSENT,
        interpreters: 40,
        next_interpreter: 0,
        threads: 72,
        next_thread: 8,
        native_thread: 0,
        thread_id: 136,
        frame: 56,
        frame_of_cframe: 0,
        previous: 8,
        code: 0,
        instruction: 56,
        owner: 70,
        table: 136,
        is_entry: ABSENT,
        file_hash: ABSENT,
        line: ABSENT,
    };
    Layout { walk, code: code_since_3_11(68, 192), text: TEXT }
}

fn code_since_3_11(first_line: u32, start: u32) -> CodeLayout {
    CodeLayout {
        filename: 112,
        name: 128,
        first_line,
        line_table: 136,
        instructions: Instructions::Address(start),
        lines: LineFormat::Locations,
    }
}

/// Where `_Py_DebugOffsets` of a version has the offsets that differ from the others'.
struct DebugOffsets {
    thread_state: u32,
    /// In `thread_state`.
    thread_id: u32,
    interpreter_frame: u32,
    code_object: u32,
    unicode_object: u32,
}

const DEBUG_OFFSETS_3_13: DebugOffsets = DebugOffsets {
    thread_state: 152,
    thread_id: 40,
    interpreter_frame: 224,
    code_object: 272,
    unicode_object: 536,
};
const DEBUG_OFFSETS_3_14: DebugOffsets = DebugOffsets {
    thread_state: 176,
    thread_id: 40,
    interpreter_frame: 248,
    code_object: 312,
    unicode_object: 616,
};
const DEBUG_OFFSETS_3_15: DebugOffsets = DebugOffsets {
    thread_state: 176,
    thread_id: 64,
    interpreter_frame: 312,
    code_object: 376,
    unicode_object: 712,
};

/// Reads what Python says of itself. `None` of what is not what it seems to be, and of a build without the global lock:
/// objects have another head there, and threads copies of the code.
fn of_debug_offsets(minor: u8, runtime: &[u8], at: &DebugOffsets) -> Option<Layout> {
    const COOKIE: &[u8] = b"xdebugpy";
    const VERSION: u32 = 8;
    const IS_FREE_THREADED: u32 = 16;
    let said = u64_at(runtime, VERSION)?;
    let is_it = runtime.starts_with(COOKIE) && said >> 16 == 0x300 | u64::from(minor);
    if !is_it || u64_at(runtime, IS_FREE_THREADED)? != 0 {
        return None;
    }
    // Structures are of some hundred KiB at most.
    let offset = |at: u32| u32::try_from(u64_at(runtime, at)?).ok().filter(|offset| *offset <= 1 << 20);
    let walk = FrameWalk {
        is_native: ALL_BITS,
        is_direct: ALL_BITS,
        is_ring: 0,
        machine: ABSENT,
        interpreters: offset(40)?,
        next_interpreter: offset(64)?,
        threads: offset(72)?,
        next_thread: offset(at.thread_state + 16)?,
        frame: offset(at.thread_state + 32)?,
        native_thread: 0,
        thread_id: offset(at.thread_state + at.thread_id)?,
        frame_of_cframe: 0,
        previous: offset(at.interpreter_frame + 8)?,
        code: offset(at.interpreter_frame + 16)?,
        instruction: offset(at.interpreter_frame + 24)?,
        owner: offset(at.interpreter_frame + 40)?,
        table: offset(at.code_object + 32)?,
        is_entry: ABSENT,
        file_hash: ABSENT,
        line: ABSENT,
    };
    let code = CodeLayout {
        filename: offset(at.code_object + 8)?,
        name: offset(at.code_object + 24)?,
        line_table: walk.table,
        first_line: offset(at.code_object + 40)?,
        instructions: Instructions::Address(offset(at.code_object + 72)?),
        lines: LineFormat::Locations,
    };
    let ascii = offset(at.unicode_object + 24)?;
    let text = TextLayout {
        state: offset(at.unicode_object + 8)?,
        length: offset(at.unicode_object + 16)?,
        ascii,
        // `utf8_length` and `utf8` stand between.
        other: ascii.checked_add(16)?,
    };
    Some(Layout { walk, code, text })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `_PyRuntime` begins with: these numbers at these offsets.
    fn debug_offsets(numbers: &[(usize, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; 744];
        bytes[..8].copy_from_slice(b"xdebugpy");
        for (at, value) in numbers {
            bytes[*at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// What it is in 3.13.0, where it matters.
    fn debug_offsets_of_3_13() -> Vec<u8> {
        debug_offsets(&[
            (8, 0x030d_00f0),
            (40, 632),
            (64, 7264),
            (72, 7344),
            (168, 8),
            (184, 72),
            (192, 152),
            (232, 8),
            (240, 0),
            (248, 56),
            (264, 70),
            (280, 112),
            (296, 128),
            (304, 136),
            (312, 68),
            (344, 200),
            (544, 32),
            (552, 16),
            (560, 40),
        ])
    }

    /// What it is in 3.15.2, where it matters.
    fn debug_offsets_of_3_15() -> Vec<u8> {
        debug_offsets(&[
            (8, 0x030f_02f0),
            (40, 936),
            (64, 7264),
            (72, 7336),
            (192, 8),
            (208, 72),
            (216, 80),
            (240, 176),
            (320, 8),
            (328, 0),
            (336, 56),
            (352, 74),
            (384, 112),
            (400, 128),
            (408, 136),
            (416, 68),
            (448, 208),
            (720, 32),
            (728, 16),
            (736, 40),
        ])
    }

    #[test]
    fn python_says_itself_where_things_are() {
        let bytes = debug_offsets_of_3_13();
        let layout = of_version(13, Some(&bytes)).unwrap();
        assert_eq!((layout.walk.threads, layout.walk.frame, layout.walk.owner), (7344, 72, 70));
        assert_eq!(layout.code.instructions, Instructions::Address(200));
        assert_eq!(layout.text, TEXT);
        assert_eq!(of_version(14, Some(&bytes)), None, "another version");
        let mut free_threaded = bytes.clone();
        free_threaded[16] = 1;
        assert_eq!(of_version(13, Some(&free_threaded)), None);
    }

    #[test]
    fn each_version_says_it_in_places_of_its_own() {
        let layout = of_version(15, Some(&debug_offsets_of_3_15())).unwrap();
        assert_eq!((layout.walk.threads, layout.walk.thread_id, layout.walk.owner), (7336, 176, 74));
        assert_eq!((layout.code.name, layout.code.instructions), (128, Instructions::Address(208)));
        assert_eq!(layout.text, TEXT);
        assert_eq!(of_version(13, Some(&debug_offsets_of_3_15())), None);
    }

    #[test]
    fn a_call_of_the_machine_begins_where_the_version_says() {
        let begins = |minor, code| {
            let runtime = debug_offsets_of_3_13();
            let layout = of_version(minor, Some(&runtime)).unwrap();
            layout.begins_call(&ScriptFrame { code, ..ScriptFrame::default() })
        };
        assert!(begins(10, 0x1000), "each");
        assert_eq!((begins(11, 0x1000), begins(11, 0x1001)), (false, true));
        assert!(!begins(12, 0x1000) && !begins(13, 0x1000), "it has a frame of its own");
    }

    #[test]
    fn versions_that_nobody_knows_have_no_layout() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|minor| of_version(*minor, None).is_some()).collect();
        assert_eq!(known, [6, 7, 8, 9, 10, 11, 12]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(minor: u8, mut bytes in proptest::collection::vec(any::<u8>(), 0..800)) {
            of_version(minor, Some(&bytes));
            if bytes.len() > 24 {
                bytes[..8].copy_from_slice(b"xdebugpy");
                bytes[8..24].copy_from_slice(&[0, 0, 13, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                of_version(13, Some(&bytes));
            }
        }
    }
}
