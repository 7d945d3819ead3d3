//! Copies what is on the user stack of a call, so that user space can find out the callers of code without frame pointers,
//! and the frames of an interpreter where the process runs one. What finds no room is counted.

use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs},
};
use tcptrace_ebpf::record::{STACK_BYTES, STACK_CHUNK, StackRecord};

use crate::{
    interpreter,
    settings::{config, is_absent, kernel, register},
    transition::count,
    transport::{self, Room, Wake},
};

/// What a record takes.
#[repr(C)]
struct Captured {
    header: StackRecord,
    frames: interpreter::Frames,
    bytes: [[u8; STACK_CHUNK]; STACK_BYTES / STACK_CHUNK],
}

transport::records! {
    /// The copies.
    static USER_STACKS: Captured
}

/// A stack ends where so many bytes in a row cannot be read: libuv has an array of 12 KiB below the callers of its loop.
const MOST_MISSED: usize = 12 << 10;

/// The smallest page of the architectures that there are programs for.
const LEAST_PAGE: u64 = 4096;

/// Reads a register, or another member of 64 bits.
///
/// # Safety
/// The verifier has to know the type of `base`, and `offset` has to be that of a member.
#[inline(always)]
unsafe fn load(base: *const u8, offset: usize) -> u64 {
    // SAFETY: the caller promises type and offset; the verifier checks both.
    unsafe { core::ptr::read_volatile(base.add(offset).cast()) }
}

/// Counts a stack that is not copied.
#[inline(always)]
pub(crate) fn skip() {
    count(|counters| counters.stacks_dropped += 1);
}

/// Copies the stack of the current task, which made a call on `sock` at `ktime_ns`.
#[inline(always)]
pub(crate) fn capture(context: &impl EbpfContext, sock: u64, ktime_ns: u64, pid: u32) {
    // Where the address comes as a pointer that the verifier knows, it passes for a number only when it has been computed with.
    let is_to_be_sent = capture_stack(sock.swap_bytes(), ktime_ns, u64::from(pid)) != 0;
    if is_to_be_sent && !transport::send::<Captured>(&USER_STACKS, context) {
        skip();
    }
}

/// [`capture`] as a global function, with the bytes of the address swapped: the verifier examines it once a program, and
/// not once more for each state in which a program gets here. Before Linux 5.12 such a function takes numbers alone, and
/// it has to return one: 1 where the record is still to be sent, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_stack(swapped_sock: u64, ktime_ns: u64, pid: u64) -> u64 {
    u64::from(write_record(swapped_sock.swap_bytes(), ktime_ns, pid as u32))
}

/// Writes the record of a call, if there is something to record and room for it. Returns whether it is still to be sent.
#[inline(always)]
fn write_record(sock: u64, ktime_ns: u64, pid: u32) -> bool {
    let known = interpreter::process(pid);
    if config!(stack_bytes) == 0 && known.is_none() {
        return false;
    }
    let room: Option<Room<Captured>> = transport::reserve(&USER_STACKS);
    let Some(mut room) = room else {
        skip();
        return false;
    };
    let captured: *mut Captured = room.as_mut_ptr();
    // SAFETY: the record is memory for one, and the frames are a part of it; the process is a live map value.
    unsafe {
        let header = &raw mut (*captured).header;
        (*header).sock = sock;
        (*header).ktime_ns = ktime_ns;
        (*header).pid = pid;
        (*header).chunks = 0;
        // The registers, and no frames. Volatile, or the compiler calls a function for it, whose stack is one too
        // many for the kernel (512 bytes for a program and all that it calls).
        for nth in 0..(size_of::<StackRecord>() - offset_of!(StackRecord, pc)) / size_of::<u64>() {
            (&raw mut (*header).pc).add(nth).write_volatile(0);
        }
        if let Some(process) = known {
            (&raw mut (*header).script).write(interpreter::read(process, &raw mut (*captured).frames));
        }
        if config!(stack_bytes) != 0 {
            copy_stack(captured);
        }
    }
    transport::commit(&USER_STACKS, room, Wake::AfterPause(ktime_ns))
}

/// Where the main thread's stack of the program ends that a task runs: below its arguments and its environment. 0 when not
/// known.
///
/// # Safety
/// The verifier has to know `task` as a `task_struct`.
#[inline(always)]
unsafe fn stack_end(task: *const u8) -> u64 {
    if is_absent(kernel!(task_mm)) || is_absent(kernel!(mm_start_stack)) {
        return 0;
    }
    // SAFETY: the caller promises a `task_struct`; each offset is that of the member named.
    unsafe { load(load(task, kernel!(task_mm)) as *const u8, kernel!(mm_start_stack)) }
}

/// How many chunks from `start` on the stack may use, up to the `end` of the main thread's: what is beyond names nobody's
/// callers. Where other stacks end is not known.
#[inline(always)]
fn used_chunks(start: u64, end: u64) -> u64 {
    if end == 0 {
        return u64::MAX;
    }
    // Below a stack that is elsewhere the distance is no smaller than what is copied, and above it wraps around.
    end.wrapping_sub(start) / STACK_CHUNK as u64 + 1
}

/// Copies the stack and the registers of the current task.
///
/// # Safety
/// `captured` has to be memory for a record.
#[inline(always)]
unsafe fn copy_stack(captured: *mut Captured) {
    // SAFETY: the helpers take no pointer but a task that the verifier knows, and return a `struct pt_regs`; the offsets are
    // those of its members on this architecture.
    unsafe {
        let task = bpf_get_current_task_btf();
        let registers = bpf_task_pt_regs(task) as *const u8;
        if registers.is_null() {
            return;
        }
        let sp: u64 = load(registers, register!(sp));
        let start = sp & !(STACK_CHUNK as u64 - 1);
        let end = stack_end(task.cast());
        let wanted = (u64::from(config!(stack_bytes)) / STACK_CHUNK as u64).min(used_chunks(start, end));
        let (mut chunks, mut missed, mut is_page_missed) = (0, 0, false);
        for nth in 0..STACK_BYTES / STACK_CHUNK {
            if nth as u64 >= wanted {
                break;
            }
            let chunk = (&raw mut (*captured).bytes).cast::<[u8; STACK_CHUNK]>().add(nth);
            let from = start + (nth * STACK_CHUNK) as u64;
            is_page_missed &= !from.is_multiple_of(LEAST_PAGE);
            // What cannot be read costs a fault, once for each page.
            if !is_page_missed && bpf_probe_read_user(chunk.cast(), STACK_CHUNK as u32, from as *const _) == 0
            {
                chunks |= 1 << nth;
                missed = 0;
            } else if missed * STACK_CHUNK < MOST_MISSED {
                // A page that the program has not written to is not there yet: the callers may lie behind a large array.
                missed += 1;
                is_page_missed = true;
            } else {
                break;
            }
        }
        let header = &raw mut (*captured).header;
        (*header).chunks = chunks;
        (*header).pc = load(registers, register!(pc));
        (*header).sp = sp;
        (*header).fp = load(registers, register!(fp));
        (*header).stack_end = end;
        (*header).lr = if is_absent(register!(lr)) { 0 } else { load(registers, register!(lr)) };
    }
}
