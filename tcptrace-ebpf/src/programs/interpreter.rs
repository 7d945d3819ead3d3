//! Reads the frames of the interpreter, Python or PHP, of the thread that makes a call, in processes that user space knows to
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
    FIRST_OWNER_WITHOUT_CODE, FRAMES_NONE, FRAMES_READ, FRAMES_UNKNOWN, InterpreterProcess,
    MOST_SCRIPT_FRAMES, PHP_FUNCTION_NAME, PHP_NAMELESS, PYTHON_ENTRY, ScriptFrame, ScriptFrames,
};

use crate::{
    calls, pids, probe,
    settings::{config, is_absent, kernel},
    transport::{self, Wake},
};

/// Threads and interpreters that are looked at. The verifier of Linux 6.18 takes 70,000 instructions for the function that
/// looks at them, and 100,000 for one that looks at 512.
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

/// Reads a `T` of the current process; the default (0) when that fails.
#[inline(always)]
fn user<T: Copy + Default>(base: u64, offset: u32) -> T {
    let mut value = T::default();
    let from = base.wrapping_add(u64::from(offset)) as *const core::ffi::c_void;
    // SAFETY: the helper checks the address it reads from, and writes as many bytes as the value has.
    unsafe { bpf_probe_read_user((&raw mut value).cast(), size_of::<T>() as u32, from) };
    value
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

/// The innermost frame of the current task; 0 where none is found.
#[inline(always)]
fn innermost(InterpreterProcess { root, walk, .. }: &InterpreterProcess) -> u64 {
    if is_absent(walk.interpreters as usize) {
        return if is_first_thread() { user(*root, walk.frame) } else { 0 };
    }
    let own = thread_pointer();
    let mut interpreter: u64 = user(*root, walk.interpreters);
    let mut thread: u64 = user(interpreter, walk.threads);
    for _ in 0..MOST_THREADS {
        if thread == 0 {
            interpreter = user(interpreter, walk.next_interpreter);
            if interpreter == 0 {
                break;
            }
            thread = user(interpreter, walk.threads);
            continue;
        }
        let id: u64 = user(thread, walk.thread_id);
        if own.wrapping_sub(id) <= u64::from(config!(thread_head_bytes)) {
            let frame: u64 = user(thread, walk.frame);
            let is_direct = is_absent(walk.frame_of_cframe as usize);
            let frame = if is_direct { frame } else { user(frame, walk.frame_of_cframe) };
            // One thread may have run several interpreters, and the one that was made last is asked first.
            if frame != 0 {
                return frame;
            }
        }
        thread = user(thread, walk.next_thread);
    }
    0
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
    let mut frame = innermost(process);
    let mut count = 0;
    for nth in 0..MOST_SCRIPT_FRAMES {
        if frame == 0 {
            break;
        }
        let has_owner = !is_absent(walk.owner as usize);
        let owner: u8 = if has_owner { user(frame, walk.owner) } else { 0 };
        let code: u64 = if owner < FIRST_OWNER_WITHOUT_CODE { user(frame, walk.code) } else { 0 };
        // The lowest bits of a reference say how it is counted (`_PyStackRef`, 3.14).
        let code = code & !3;
        let instruction: u64 = user(frame, walk.instruction);
        let table: u64 = if code == 0 { 0 } else { user(code, walk.table) };
        let has_line = !is_absent(walk.line as usize);
        let (code, instruction) = if has_line {
            let line: u32 = user(instruction, walk.line);
            let hash: u64 = user(table, walk.file_hash);
            let name: u64 = user(code, PHP_FUNCTION_NAME);
            // The highest bit of a number or of its negative is set, except of 0. The verifier would look at both ways of a branch.
            let has_name = (name | name.wrapping_neg()) >> 63;
            (code | (PHP_NAMELESS ^ has_name), u64::from(line) | hash << 32)
        } else {
            let has_entry = !is_absent(walk.is_entry as usize);
            let is_entry: u8 = if has_entry { user(frame, walk.is_entry) } else { 0 };
            (code | (u64::from(is_entry) & PYTHON_ENTRY), instruction)
        };
        // SAFETY: the index is within the array.
        unsafe { frames.cast::<ScriptFrame>().add(nth).write(ScriptFrame { code, instruction, table }) };
        count = nth as u32 + 1;
        frame = user(frame, walk.previous);
    }
    ScriptFrames {
        root: process.root,
        build: process.build,
        outcome: if count == 0 { FRAMES_NONE } else { FRAMES_READ },
        count,
        is_deeper: u32::from(frame != 0),
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
