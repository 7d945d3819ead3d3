//! Reads the frames of the interpreter, Python, PHP or Ruby, of the thread that makes a call, in processes that user space knows to
//! run one. Everything comes from a stranger's memory: reads that fail give 0, every loop is bounded, and what is found is a
//! claim that user space checks.
//!
//! An entry for a process that has ended or runs another program since does no harm: no thread of it is found.

use core::mem::MaybeUninit;

use aya_ebpf::{
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, generated::bpf_probe_read_user},
    macros::{btf_map, raw_tracepoint},
    programs::RawTracePointContext,
};
use tcptrace_ebpf::interpreter::{
    FIRST_OWNER_WITHOUT_CODE, FRAMES_NONE, FRAMES_READ, FRAMES_UNKNOWN, FrameWalk, InterpreterProcess,
    MOST_SCRIPT_FRAMES, PHP_FUNCTION_NAME, PHP_NAMELESS, PYTHON_ENTRY, RUBY_STACK, ScriptFrame, ScriptFrames,
};

use crate::{
    calls, pids, probe,
    settings::{config, is_absent, kernel},
    transport::{self, Wake},
};

/// Threads and interpreters that are looked at. With so many, the verifier of Linux 6.18 takes 147,000 instructions for the
/// typed program.
const MOST_THREADS: u32 = 256;

/// The processes that run an interpreter, by their number in the reader's pid namespace. User space sets the size when it loads
/// the object.
#[btf_map]
static INTERPRETERS: LruHashMap<u32, InterpreterProcess, 1> = LruHashMap::new();

transport::records! {
    /// The processes that have begun to run another program, for user space to look at.
    static STARTED_PROGRAMS: u64
}

/// The frames of a call.
pub(crate) type Frames = [ScriptFrame; MOST_SCRIPT_FRAMES];

/// What is known of a process; `None` where nobody knows that it runs an interpreter.
#[inline(always)]
pub(crate) fn process(pid: u32) -> Option<*const InterpreterProcess> {
    if config!(read_frames) == 0 {
        return None;
    }
    INTERPRETERS.get_ptr(pid)
}

/// The memory of the current process, by one word on the stack: programs that call this have little room there.
struct UserMemory(u64);

impl UserMemory {
    /// Reads a number of so many bytes; 0 when that fails.
    #[inline(always)]
    fn read(&mut self, base: u64, offset: u32, bytes: usize) -> u64 {
        self.0 = 0;
        let from = base.wrapping_add(u64::from(offset)) as *const core::ffi::c_void;
        // SAFETY: the helper checks the address it reads from, and writes no more bytes than a word has.
        unsafe { bpf_probe_read_user((&raw mut self.0).cast(), bytes as u32, from) };
        self.0
    }

    #[inline(always)]
    fn word(&mut self, base: u64, offset: u32) -> u64 {
        self.read(base, offset, size_of::<u64>())
    }
}

/// The thread pointer of the current task.
#[inline(always)]
fn thread_pointer() -> u64 {
    // SAFETY: the helper takes no pointer.
    let task = unsafe { bpf_get_current_task() };
    if !is_absent(kernel!(task_fsbase)) {
        probe::read(task, kernel!(task_fsbase))
    } else if !is_absent(kernel!(task_tp_value)) {
        probe::read(task, kernel!(task_tp_value))
    } else {
        0
    }
}

/// Whether the current task is the first thread of its process.
#[inline(always)]
fn is_first_thread() -> bool {
    let pid_tgid = bpf_get_current_pid_tgid();
    pid_tgid >> 32 == pid_tgid & u64::from(u32::MAX)
}

/// What leads to the innermost frame of the current task; 0 where nothing does.
#[inline(always)]
fn innermost(
    memory: &mut UserMemory,
    own: u64,
    InterpreterProcess { root, walk, .. }: &InterpreterProcess,
) -> u64 {
    if is_absent(walk.interpreters as usize) {
        return if is_first_thread() { memory.word(*root, walk.frame) } else { 0 };
    }
    let machine = if is_absent(walk.machine as usize) { *root } else { memory.word(*root, walk.machine) };
    let mut interpreter = memory.word(machine, walk.interpreters);
    let mut thread = memory.word(interpreter, walk.threads);
    for _ in 0..MOST_THREADS {
        // SAFETY: a reference can be read. Volatile: what is kept through a loop takes room on the stack.
        let threads = unsafe { (&raw const walk.threads).read_volatile() };
        if thread == either(walk.is_ring, interpreter.wrapping_add(u64::from(threads)), 0) {
            if is_absent(walk.next_interpreter as usize) {
                break;
            }
            interpreter = memory.word(interpreter, walk.next_interpreter);
            if interpreter == 0 {
                break;
            }
            thread = memory.word(interpreter, walk.threads);
            continue;
        }
        let native = memory.word(thread, walk.native_thread);
        let id = memory.word(either(walk.is_native, thread, native), walk.thread_id);
        if own.wrapping_sub(id) <= u64::from(config!(thread_head_bytes)) {
            let holder = memory.word(thread, walk.frame);
            // One thread may have run several interpreters, and the one that was made last is asked first.
            if frame_of(memory, walk, holder) != 0 {
                return holder;
            }
        }
        thread = memory.word(thread, walk.next_thread);
    }
    0
}

/// The innermost frame, by what leads to it.
#[inline(always)]
fn frame_of(memory: &mut UserMemory, walk: &FrameWalk, holder: u64) -> u64 {
    let frame = memory.word(holder, walk.frame_of_cframe);
    either(walk.is_direct, holder, frame)
}

/// The last byte of the array in which frames lie. Of frames that lie anywhere, that of all memory: so one comparison finds the
/// end of both.
#[inline(always)]
fn last_byte(memory: &mut UserMemory, walk: &FrameWalk, holder: u64) -> u64 {
    let start = memory.word(holder, RUBY_STACK);
    let words = memory.word(holder, RUBY_STACK + size_of::<u64>() as u32);
    let end = start.wrapping_add(words.wrapping_mul(size_of::<u64>() as u64));
    either(walk.is_ring, end.wrapping_sub(1), u64::MAX)
}

/// One of two numbers: the first one where `choice` has all bits, the second one where it has none.
#[inline(always)]
fn either(choice: u32, first: u64, second: u64) -> u64 {
    let is_first = choice.cast_signed() as i64 as u64;
    first & is_first | second & !is_first
}

/// Reads the frames of the current task into `frames`.
///
/// # Safety
/// `process` has to be a live map value, and `frames` memory that may be written.
#[inline(always)]
pub(crate) unsafe fn read(process: *const InterpreterProcess, frames: *mut Frames) -> ScriptFrames {
    // SAFETY: the caller promises both. User space may replace the value meanwhile, by one that is as good.
    let process = unsafe { &*process };
    let walk = &process.walk;
    let own = thread_pointer();
    let mut memory = UserMemory(0);
    let holder = innermost(&mut memory, own, process);
    let last_byte = last_byte(&mut memory, walk, holder);
    let mut frame = frame_of(&mut memory, walk, holder);
    let mut count = 0;
    while count < MOST_SCRIPT_FRAMES && frame.wrapping_sub(1) < last_byte {
        let has_owner = !is_absent(walk.owner as usize);
        let owner = if has_owner { memory.read(frame, walk.owner, size_of::<u8>()) } else { 0 };
        let code =
            if owner < u64::from(FIRST_OWNER_WITHOUT_CODE) { memory.word(frame, walk.code) } else { 0 };
        // The lowest bits of a reference say how it is counted (`_PyStackRef`, 3.14).
        let code = code & !3;
        let table = if code == 0 { 0 } else { memory.word(code, walk.table) };
        let has_line = !is_absent(walk.line as usize);
        let mark = if has_line {
            let name = memory.word(code, PHP_FUNCTION_NAME);
            // The highest bit of a number or of its negative is set, except of 0. The verifier would look at both ways of a branch.
            PHP_NAMELESS ^ (name | name.wrapping_neg()) >> 63
        } else {
            let has_entry = !is_absent(walk.is_entry as usize);
            let is_entry = if has_entry { memory.read(frame, walk.is_entry, size_of::<u8>()) } else { 0 };
            is_entry & PYTHON_ENTRY
        };
        // SAFETY: the index is within the array.
        let place = unsafe { frames.cast::<ScriptFrame>().add(count) };
        // SAFETY: the place was checked. Volatile: what is written at once takes no room on the stack.
        unsafe {
            (&raw mut (*place).code).write_volatile(code | mark);
            (&raw mut (*place).table).write_volatile(table);
        }
        let mut instruction = memory.word(frame, walk.instruction);
        if has_line {
            let hash = memory.word(table, walk.file_hash);
            let line = memory.read(instruction, walk.line, size_of::<u32>());
            instruction = line | hash << 32;
        }
        // SAFETY: as above.
        unsafe { (&raw mut (*place).instruction).write_volatile(instruction) };
        count += 1;
        let previous = memory.word(frame, walk.previous);
        frame = either(walk.is_ring, frame.wrapping_add(u64::from(walk.previous)), previous);
    }
    ScriptFrames {
        root: process.root,
        build: process.build,
        outcome: if count == 0 { FRAMES_NONE } else { FRAMES_READ },
        count: count as u32,
        is_deeper: u32::from(frame.wrapping_sub(1) < last_byte),
    }
}

const _: () = assert!(FRAMES_UNKNOWN == 0, "a record of a process that nobody knows has zeros");

/// The current process runs another program: what was known of it is no longer true.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn program_started(context: RawTracePointContext) -> i32 {
    let (pid, _) = calls::current_task();
    if INTERPRETERS.get_ptr(pid).is_some() {
        let _ = INTERPRETERS.remove(pid);
    }
    // One that finds no room is found when it is asked for.
    transport::write(&STARTED_PROGRAMS, &context, Wake::Always, |started: &mut MaybeUninit<u64>| {
        started.write(u64::from(pid));
    });
    0
}

/// A process that was forked runs the program of its parent, at the same addresses:
/// `TP_PROTO(struct task_struct *parent, struct task_struct *child)`.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn process_forked(context: RawTracePointContext) -> i32 {
    let (parent, child): (u64, u64) = (context.arg(0), context.arg(1));
    let of_parent: u32 = probe::read(parent, kernel!(task_tgid));
    let of_child: u32 = probe::read(child, kernel!(task_tgid));
    // A thread.
    if of_parent == of_child {
        return 0;
    }
    if let Some(known) = INTERPRETERS.get_ptr(pids::of_process(parent, of_parent)) {
        // SAFETY: the pointer is that of a live map value.
        let _ = INTERPRETERS.insert(pids::of_process(child, of_child), unsafe { &*known }, 0);
    }
    0
}
