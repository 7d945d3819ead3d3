//! What threads that run have called last: the iterator over all tasks (`iter/task` of kernel/bpf/task_iter.c, Linux 5.8).
//! A thread that enters the kernel leaves its registers at the end of its kernel stack, and they stay there while it
//! runs on: the number of the call, its arguments, and what the kernel has returned.
//!
//! User space loads this program only when it finds a process that never sleeps. A single record proves nothing: a
//! thread may have called once, long ago.

use aya_ebpf::{bindings::task_struct, helpers::generated::bpf_task_pt_regs};
use tcptrace_ebpf::record::RunningRecord;

use crate::{
    IteratorMeta, Reader, pids,
    settings::{kernel, register},
    typed,
};

/// `PF_KTHREAD` of include/linux/sched.h: a thread of the kernel, which makes no calls.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `struct bpf_iter__task` of kernel/bpf/task_iter.c.
#[repr(C)]
#[derive(Clone, Copy)]
struct Task {
    meta: *const IteratorMeta,
    task: *const task_struct,
}

/// Writes a [`RunningRecord`] for each thread of a program that runs, or would if a processor were free.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn running(context: *const Task) -> i32 {
    // SAFETY: the kernel passes a context of this layout, whose pointers the verifier knows; the helper returns the
    // registers of the task, and the offsets are those of the members named.
    unsafe {
        let Task { meta, task } = *context;
        if task.is_null() {
            return 0;
        }
        let reader = Reader::of(meta);
        let fields = task.cast::<u8>();
        let is_of_kernel = typed::load::<u32>(fields, kernel!(task_flags)) & KERNEL_THREAD != 0;
        if is_of_kernel || typed::load::<u32>(fields, kernel!(task_state)) != 0 {
            return 0;
        }
        let registers = bpf_task_pt_regs(task.cast_mut()) as *const u8;
        if registers.is_null() {
            return 0;
        }
        reader.write(&RunningRecord {
            tgid: pids::of_process(task as u64, typed::load(fields, kernel!(task_tgid))),
            pid: pids::of_thread(task as u64, typed::load(fields, kernel!(task_pid))),
            call: typed::load(registers, register!(call)),
            padding: 0,
            first: typed::load(registers, register!(first)),
            second: typed::load(registers, register!(second)),
            result: typed::load(registers, register!(result)),
        });
    }
    0
}
