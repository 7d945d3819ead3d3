//! What the kernel side reads of a Python program at a call, byte for byte. Interprets nothing.
//!
//! Frames live as long as their calls, code objects much longer: so the frames are read at the call, and names and lines
//! later, from the code objects, by user space.

/// An offset that this version of Python does not need.
pub use crate::kernel_fields::ABSENT;

/// Frames that are read of one stack, innermost first; those of the interpreter's own among them.
pub const MOST_PYTHON_FRAMES: usize = 64;

/// Frames with this owner or a higher one are no functions: `FRAME_OWNED_BY_CSTACK` of 3.12 and 3.13,
/// `FRAME_OWNED_BY_INTERPRETER` of 3.14 (Include/internal/pycore_frame.h, pycore_interpframe_structs.h).
pub const FIRST_OWNER_WITHOUT_CODE: u8 = 3;

/// The bit of [`PythonFrame::code`] that says that the interpreter was called for the frame. Only 3.11 tells.
pub const PYTHON_ENTRY: u64 = 1;

/// Where a process that runs Python keeps what leads to the frames of a thread. Offsets are in bytes; a wrong one leads
/// to memory that cannot be read, or to no thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct PythonProcess {
    /// The address of `_PyRuntime`.
    pub runtime: u64,
    /// Which build of Python, by the numbers of user space.
    pub build: u32,
    pub walk: PythonWalk,
}

/// Offsets on the way from `_PyRuntime` to a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct PythonWalk {
    /// Of `_PyRuntimeState`: the first interpreter.
    pub interpreters: u32,
    /// Of `PyInterpreterState`: the next one.
    pub next_interpreter: u32,
    /// Of `PyInterpreterState`: its first thread.
    pub threads: u32,
    /// Of `PyThreadState`: the next one.
    pub next_thread: u32,
    /// Of `PyThreadState`: what pthread_self() says of it.
    pub thread_id: u32,
    /// Of `PyThreadState`: its innermost frame, or what leads to that.
    pub frame: u32,
    /// Of `_PyCFrame`, in 3.11 and 3.12: the innermost frame. [`ABSENT`] where the thread leads to it.
    pub frame_of_cframe: u32,
    /// Of the frame: its caller.
    pub previous: u32,
    /// Of the frame: its code object.
    pub code: u32,
    /// Of the frame: its instruction, as an address or an index.
    pub instruction: u32,
    /// Of the frame: to whom it belongs, one byte. [`ABSENT`] before 3.11.
    pub owner: u32,
    /// Of the code object: its table of lines, by which it is recognized later.
    pub line_table: u32,
    /// Of the frame, in 3.11: whether the interpreter was called for it, one byte. [`ABSENT`] elsewhere.
    pub is_entry: u32,
}

/// A frame of Python.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct PythonFrame {
    /// The address of its code object, with [`PYTHON_ENTRY`] in it; 0 where it has none.
    pub code: u64,
    /// Where in its code it is: an address since 3.11, an index in the lower half before.
    pub instruction: u64,
    /// The address of the code object's table of lines.
    pub line_table: u64,
}

/// [`PythonFrames::outcome`]: nobody knows that the process runs Python.
pub const PYTHON_UNKNOWN: u32 = 0;
/// [`PythonFrames::outcome`]: the frames of the thread were read.
pub const PYTHON_READ: u32 = 1;
/// [`PythonFrames::outcome`]: no thread of Python's is the one that made the call.
pub const PYTHON_OTHER_THREAD: u32 = 2;

/// What was found out of the frames of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct PythonFrames {
    /// As in [`PythonProcess`].
    pub runtime: u64,
    /// As in [`PythonProcess`].
    pub build: u32,
    /// How it went: `PYTHON_*`.
    pub outcome: u32,
    /// Frames that were read.
    pub count: u32,
    /// 1: there are more.
    pub is_deeper: u32,
}

const _: () = {
    assert!(size_of::<PythonProcess>() == 64);
    assert!(size_of::<PythonFrame>() == 24);
    assert!(size_of::<PythonFrames>() == 24);
};
