//! What the kernel side reads of an interpreter at a call, byte for byte: of Python, of PHP and of Ruby. Interprets nothing.
//!
//! Frames live as long as their calls, code much longer: so the frames are read at the call, and names later, from the code
//! (Python's code objects, PHP's op arrays, Ruby's instruction sequences), by user space. PHP's code outside of functions is gone when its file has been
//! run: so its line is read at the call too.

/// An offset that this interpreter does not need.
pub use crate::kernel_fields::ABSENT;

/// All bits of a choice between two ways, which the kernel side takes without a branch: its verifier would look at both.
pub const ALL_BITS: u32 = u32::MAX;

/// Frames that are read of one stack, innermost first; those of the interpreter's own among them.
pub const MOST_SCRIPT_FRAMES: usize = 64;

/// Frames of Python with this owner or a higher one are no functions: `FRAME_OWNED_BY_CSTACK` of 3.12 and 3.13,
/// `FRAME_OWNED_BY_INTERPRETER` of 3.14 (Include/internal/pycore_frame.h, pycore_interpframe_structs.h).
pub const FIRST_OWNER_WITHOUT_CODE: u8 = 3;

/// The bit of [`ScriptFrame::code`] that says that the interpreter was called for the frame. Only Python 3.11 tells.
pub const PYTHON_ENTRY: u64 = 1;

/// The bit of [`ScriptFrame::code`] that says that the code has no name: of PHP, it is outside of functions.
pub const PHP_NAMELESS: u64 = 1;

/// Where a function of PHP has its name (`zend_function` of Zend/zend_compile.h, 7.4 to 8.5).
pub const PHP_FUNCTION_NAME: u32 = 8;

/// Where an execution context of Ruby has the array at whose end frames lie, and behind that its length in words
/// (`rb_execution_context_t` of vm_core.h, 2.7 to 3.4).
pub const RUBY_STACK: u32 = 0;

/// Where a process that runs an interpreter keeps what leads to the frames of a thread. Offsets are in bytes; a wrong one leads
/// to memory that cannot be read, or to no thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct InterpreterProcess {
    /// The address of `_PyRuntime` of Python, of `executor_globals` of PHP, or of `ruby_current_vm_ptr` of Ruby.
    pub root: u64,
    /// Which build of the interpreter, by the numbers of user space.
    pub build: u32,
    pub walk: FrameWalk,
    pub padding: u32,
}

/// Offsets on the way from the root to a frame. What is said of Python holds for what stands for it in PHP, and
/// in Ruby: the main ractor for an interpreter, an execution context for `_PyCFrame`, and instruction sequences for code.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct FrameWalk {
    /// [`ALL_BITS`] where a thread has its identity itself, 0 where what `native_thread` leads to has it.
    pub is_native: u32,
    /// [`ALL_BITS`] where what a thread leads to is its innermost frame, 0 where that leads to it.
    pub is_direct: u32,
    /// [`ALL_BITS`] where threads are in a ring, and frames in an array, each behind those that it called; 0 where threads are in
    /// a list that ends, and each frame leads to its caller.
    pub is_ring: u32,
    /// Of the root: what leads to the interpreters. [`ABSENT`] where the root itself does.
    pub machine: u32,
    /// Of `_PyRuntimeState`: the first interpreter. [`ABSENT`] where one thread runs all, the first of the process, and the
    /// root leads to its innermost frame.
    pub interpreters: u32,
    /// Of `PyInterpreterState`: the next one. [`ABSENT`] where there is one.
    pub next_interpreter: u32,
    /// Of `PyInterpreterState`: its first thread.
    pub threads: u32,
    /// Of `PyThreadState`: the next one.
    pub next_thread: u32,
    /// Of `PyThreadState`: what has the identity of its thread.
    pub native_thread: u32,
    /// Of `PyThreadState`, or of its native thread: what pthread_self() says of it.
    pub thread_id: u32,
    /// Of `PyThreadState`, or of the root: its innermost frame, or what leads to that.
    pub frame: u32,
    /// Of `_PyCFrame`, in 3.11 and 3.12: the innermost frame.
    pub frame_of_cframe: u32,
    /// Of the frame: its caller; or the size of a frame, where each lies behind those that it called.
    pub previous: u32,
    /// Of the frame: its code object, or its function.
    pub code: u32,
    /// Of the frame: its instruction, as an address or an index.
    pub instruction: u32,
    /// Of the frame: to whom it belongs, one byte. [`ABSENT`] before 3.11.
    pub owner: u32,
    /// Of the code: its table of lines, the name of its file, or its body. It is recognized by that later.
    pub table: u32,
    /// Of the frame, in Python 3.11: whether the interpreter was called for it, one byte. [`ABSENT`] elsewhere.
    pub is_entry: u32,
    /// Of the name of a file: its hash.
    pub file_hash: u32,
    /// Of the instruction: its line. [`ABSENT`] but in PHP: tables tell lines later.
    pub line: u32,
}

/// A frame of an interpreter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct ScriptFrame {
    /// The address of its code, with [`PYTHON_ENTRY`] or [`PHP_NAMELESS`] in it; 0 where it has none.
    pub code: u64,
    /// Where in its code it is. Of Python, the address of an instruction, or before 3.11 its index in the lower half. Of PHP, the
    /// line in the lower half, and in the upper one as much of the hash of the file's name. Of Ruby, the address of the next
    /// instruction; 0 where the frame runs none.
    pub instruction: u64,
    /// The address of the code's table of lines, of the name of its file, or of the body of Ruby's.
    pub table: u64,
}

/// [`ScriptFrames::outcome`]: nobody knows that the process runs an interpreter.
pub const FRAMES_UNKNOWN: u32 = 0;
/// [`ScriptFrames::outcome`]: the frames of the thread were read.
pub const FRAMES_READ: u32 = 1;
/// [`ScriptFrames::outcome`]: the thread that made the call has no frame.
pub const FRAMES_NONE: u32 = 2;

/// What was found out of the frames of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct ScriptFrames {
    /// As in [`InterpreterProcess`].
    pub root: u64,
    /// As in [`InterpreterProcess`].
    pub build: u32,
    /// How it went: `FRAMES_*`.
    pub outcome: u32,
    /// Frames that were read.
    pub count: u32,
    /// 1: there are more.
    pub is_deeper: u32,
}

const _: () = {
    assert!(size_of::<InterpreterProcess>() == 96);
    assert!(size_of::<ScriptFrame>() == 24);
    assert!(size_of::<ScriptFrames>() == 24);
};
