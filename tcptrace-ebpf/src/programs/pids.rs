//! The numbers of processes and threads in the pid namespace of the reader, whose /proc has their names. In the root
//! pid namespace they are the kernel's own, at no cost.

use tcptrace_ebpf::record::HOST_PID;

use crate::{
    probe,
    settings::{config, is_absent, kernel},
};

/// Pid namespaces that one task can be in: `MAX_PID_NS_LEVEL` of include/linux/pid_namespace.h, and the root one.
const LEVELS: u32 = 33;

/// Size of `struct upid` of include/linux/pid.h: a number and a pointer.
const UPID_BYTES: usize = 16;

/// The process (thread group id) of the `struct task_struct` at this address, which the root pid namespace numbers
/// `on_host`.
#[inline(always)]
pub(crate) fn of_process(task: u64, on_host: u32) -> u32 {
    if config!(pid_namespace) == 0 {
        return on_host;
    }
    if is_absent(kernel!(task_group_leader)) {
        return on_host | HOST_PID;
    }
    // The thread group leader's number is that of the process, also when the leader has ended.
    of_thread(probe::read(task, kernel!(task_group_leader)), on_host)
}

/// The thread at this address, likewise.
#[inline(always)]
pub(crate) fn of_thread(task: u64, on_host: u32) -> u32 {
    if config!(pid_namespace) == 0 {
        return on_host;
    }
    if is_absent(kernel!(task_thread_pid)) || is_absent(kernel!(pid_numbers)) {
        return on_host | HOST_PID;
    }
    let pid: u64 = probe::read(task, kernel!(task_thread_pid));
    let innermost: u32 = probe::read(pid, kernel!(pid_level));
    for level in 0..LEVELS {
        if level > innermost {
            break;
        }
        let number = pid + (kernel!(pid_numbers) + level as usize * UPID_BYTES) as u64;
        let namespace: u64 = probe::read(number, kernel!(upid_ns));
        if probe::read::<u32>(namespace, kernel!(pid_namespace_inum)) == config!(pid_namespace) {
            return probe::read(number, kernel!(upid_nr));
        }
    }
    on_host | HOST_PID
}
