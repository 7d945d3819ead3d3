//! Unwinds stacks on a thread with a deadline: a process may have mapped files and memory that are read for ever (FUSE,
//! userfaultfd). A process whose stack was overdue is left alone for a while.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::process::{StackUnwinder, Unwound};
use crate::{
    model::captured_stack::CapturedStack,
    stacks::{
        deadline::{DeadlineThread, NoAnswer},
        scripts::finder::InterpreterFinder,
    },
};

/// Longest time to unwind a stack. Reading the unwind information of a large program takes a second or two, once.
const UNWINDING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a process is left alone whose stack was overdue, and of how many that is remembered.
const OVERDUE_INTERVAL: Duration = Duration::from_mins(5);
const MOST_OVERDUE: usize = 1024;

/// Unwinds stacks, each within a deadline.
pub(super) struct GuardedUnwinder {
    unwinder: DeadlineThread<CapturedStack, Unwound>,
    /// By pid.
    overdue: FxHashMap<u32, Instant>,
}

impl GuardedUnwinder {
    pub(super) fn new(proc_root: &Path, finder: Option<InterpreterFinder>) -> Self {
        let proc_root = proc_root.to_owned();
        let start = move || {
            let mut unwinder = StackUnwinder::new(&proc_root, finder.clone());
            Box::new(move |stack: CapturedStack| {
                let unwound = unwinder.unwound(&stack);
                if unwound.points.is_empty() {
                    unwinder.forget(stack.pid);
                }
                unwound
            }) as Box<_>
        };
        Self {
            unwinder: DeadlineThread::new("unwinder", UNWINDING_TIMEOUT, start),
            overdue: FxHashMap::default(),
        }
    }

    /// Unwinds a stack. There are no points where the process has ended, and where it took too long.
    pub(super) fn unwound(&mut self, stack: CapturedStack) -> Unwound {
        let pid = stack.pid;
        if self.overdue.get(&pid).is_some_and(|since| since.elapsed() < OVERDUE_INTERVAL) {
            return Unwound::default();
        }
        self.unwinder.ask(stack).unwrap_or_else(|error| {
            if let NoAnswer::Late(_) = error {
                log::warn!("the stacks of process {pid} cannot be unwound: {error}");
                if self.overdue.len() >= MOST_OVERDUE {
                    self.overdue.clear();
                }
                self.overdue.insert(pid, Instant::now());
            }
            Unwound::default()
        })
    }
}
