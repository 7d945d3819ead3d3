//! Starts what works on the copies that the kernel side takes at calls: the thread that unwinds stacks, and the one that
//! finds processes that run Python, PHP or Ruby. Looks at none of them itself.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tcptrace_ebpf::interpreter::InterpreterProcess;

use crate::{
    host::wakeup::Wakeup,
    kernel::CallMemory,
    model::captured_stack::CapturedStack,
    stacks::{scripts::finder::InterpreterFinder, unwind::UnwoundStacks},
};

/// Starts both; `None` where no copies are taken.
pub(super) fn unwind(proc_root: &Path, calls: &mut CallMemory) -> Option<UnwoundStacks> {
    let mut copies = calls.take_user_stacks()?;
    let is_over = Arc::new(AtomicBool::new(false));
    let finder = find_interpreters(proc_root, &is_over, calls);
    let start = || {
        let wakeup = Arc::new(Wakeup::new()?);
        let wakes = Arc::clone(&wakeup);
        let drain = move |at_most: Duration, limit: usize, visit: &mut dyn FnMut(CapturedStack)| {
            copies.drain(&wakes, at_most, limit, visit);
        };
        UnwoundStacks::start(proc_root, is_over, finder, wakeup, drain)
    };
    start().inspect_err(|error| log::warn!("callers without frame pointers are not found: {error}")).ok()
}

fn find_interpreters(
    proc_root: &Path,
    is_over: &Arc<AtomicBool>,
    calls: &mut CallMemory,
) -> Option<InterpreterFinder> {
    let (mut processes, mut programs) = *calls.take_interpreters()?;
    let insert = move |pid: u32, process: &InterpreterProcess| {
        if let Err(error) = processes.insert(pid, process) {
            log::debug!("the lines of the interpreter of process {pid} are not found: {error}");
        }
    };
    let start = || {
        let wakeup = Arc::new(Wakeup::new()?);
        let wakes = Arc::clone(&wakeup);
        let started = move |at_most: Duration, visit: &mut dyn FnMut(u32)| {
            programs.wait(&wakes, at_most, visit);
        };
        InterpreterFinder::start(proc_root, Arc::clone(is_over), wakeup, started, insert)
    };
    start().inspect_err(|error| log::warn!("lines of Python, PHP and Ruby are not found: {error}")).ok()
}
