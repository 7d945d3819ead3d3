//! Finds out the callers of calls from copies of their stacks, on a thread of its own, and keeps the points: once for
//! equal stacks. Bounded; names no address.

mod bounded;
mod callers;
mod fuzzed;
mod guarded;
mod instructions;
mod kept;
mod module;
mod process;

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustc_hash::{FxHashMap, FxHashSet};
use tcptrace_ebpf::config::PAUSE_NS;

pub use self::{fuzzed::unwound, instructions::has_caller_rule};
use self::{guarded::GuardedUnwinder, process::Unwound};
use super::{
    kept_code::KeptCode,
    point::{Point, Points},
    scripts::finder::InterpreterFinder,
};
use crate::{
    host::wakeup::Wakeup,
    model::{captured_stack::CapturedStack, socket::KernelSocket},
};

/// Calls whose stacks are kept, and distinct stacks; beyond, all are forgotten.
const MOST_CALLS: usize = 262_144;
const MOST_STACKS: usize = 16_384;

/// How often copies are looked for: a process may end right after its call. And how many are taken at once.
const INTERVAL: Duration = Duration::from_millis(20);
const BATCH: usize = 256;

/// How often they are looked for when none has come for a while: the kernel side wakes the reader for the next one.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
const IDLE_AFTER: Duration = Duration::from_nanos(PAUSE_NS);

/// The stacks of calls.
pub(crate) struct UnwoundStacks {
    kept: Arc<Mutex<Kept>>,
    /// Told of each end of a pass.
    passes: Arc<Condvar>,
    is_over: Arc<AtomicBool>,
    wakeup: Arc<Wakeup>,
}

#[derive(Default)]
struct Kept {
    /// The last two calls on the socket, the later first: it is opened, and its end of file read.
    calls: FxHashMap<KernelSocket, [Option<KeptCall>; 2]>,
    stacks: FxHashSet<Points>,
    /// How often no copy was left.
    passes: u64,
    /// Stacks are copied, not only what interpreters say of themselves.
    copies_stacks: bool,
}

struct KeptCall {
    ktime_ns: u64,
    points: Points,
    code: Weak<KeptCode>,
}

/// The stack of a call.
#[derive(Debug)]
pub(crate) struct CallStack {
    pub(crate) points: Points,
    /// What the process had mapped, where that is kept.
    pub(crate) code: Option<Arc<KeptCode>>,
}

impl UnwoundStacks {
    /// Starts the thread, which takes copies from `drain`: that waits for some or for the `wakeup`, for this time at most, and
    /// passes so many to its visitor. `is_over` is set when this is dropped, for whoever else works for it.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(crate) fn start<D>(
        proc_root: &Path,
        is_over: Arc<AtomicBool>,
        finder: Option<InterpreterFinder>,
        wakeup: Arc<Wakeup>,
        mut drain: D,
    ) -> std::io::Result<Self>
    where
        D: FnMut(Duration, usize, &mut dyn FnMut(CapturedStack)) + Send + 'static,
    {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let mut unwinder = GuardedUnwinder::new(proc_root, finder);
        let passes = Arc::new(Condvar::new());
        let (keeps, ends, passed) = (Arc::clone(&kept), Arc::clone(&is_over), Arc::clone(&passes));
        thread::Builder::new().name("stacks".to_owned()).spawn(move || {
            let mut last_taken = Instant::now();
            while !ends.load(Ordering::Relaxed) {
                let mut taken = 0;
                let is_idle = last_taken.elapsed() >= IDLE_AFTER;
                drain(if is_idle { IDLE_INTERVAL } else { INTERVAL }, BATCH, &mut |stack| {
                    taken += 1;
                    let (socket, ktime_ns) = (stack.socket, stack.ktime_ns);
                    let is_stack = stack.registers.pc != 0;
                    let Unwound { points, code } = unwinder.unwound(stack);
                    let mut kept = keeps.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.copies_stacks |= is_stack;
                    if !points.is_empty() {
                        kept.keep(socket, ktime_ns, points, code);
                    }
                });
                if taken > 0 {
                    last_taken = Instant::now();
                }
                if taken < BATCH {
                    keeps.lock().unwrap_or_else(PoisonError::into_inner).passes += 1;
                    passed.notify_all();
                }
            }
        })?;
        Ok(Self { kept, passes, is_over, wakeup })
    }

    /// Waits until the copies that have been taken so far are unwound, for this time at most.
    pub(crate) fn catch_up(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The pass that goes on may have begun before the last copy was taken.
        let enough = kept.passes + 2;
        while kept.passes < enough {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.wakeup.wake();
            kept = self.passes.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether each call leaves a copy of its stack: one that has none was lost.
    pub(crate) fn copies_stacks(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).copies_stacks
    }

    /// The stack of the call that was made on a socket at this time (CLOCK_MONOTONIC, nanoseconds).
    pub(crate) fn of(&self, socket: KernelSocket, ktime_ns: u64) -> Option<CallStack> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.of(socket, ktime_ns)
    }
}

/// A stack that was unwound as far as its copy goes, and then walked by frame pointers from where both meet.
pub(crate) fn joined(unwound: &[Point], walked: &[Point]) -> Vec<Point> {
    if unwound.last() == Some(&Point::End) {
        return unwound.to_vec();
    }
    if matches!(unwound.first(), Some(Point::Script(_))) {
        // No stack was copied: what a machine said of itself lacks the system call.
        return walked.first().into_iter().chain(unwound).cloned().collect();
    }
    // Lines that a virtual machine told are nowhere else.
    let told = unwound.iter().rposition(|point| matches!(point, Point::Script(_)));
    // Equal points may come again in a recursion: the outermost is the one where both go on alike.
    let meets = unwound.iter().rposition(|point| walked.iter().any(|walked| walked.is_at(point)));
    let meets = meets.filter(|meets| told < Some(*meets));
    let (Some(inner), true) = (meets, walked.len() > 1) else { return unwound.to_vec() };
    let outer = unwound.get(inner).and_then(|met| walked.iter().rposition(|point| point.is_at(met)));
    let rest = outer.and_then(|outer| walked.get(outer + 1..)).unwrap_or_default();
    if rest.len() < unwound.len() - inner {
        return unwound.to_vec();
    }
    // Frame pointers know no caller of the innermost function: they passed over all that was unwound, as over C below Go.
    let kept = if inner == 0 { unwound.len() } else { inner + 1 };
    unwound.iter().take(kept).chain(rest).cloned().collect()
}

impl Drop for UnwoundStacks {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.wakeup.wake();
    }
}

impl Kept {
    fn keep(&mut self, socket: KernelSocket, ktime_ns: u64, points: Vec<Point>, code: Weak<KeptCode>) {
        if self.calls.len() >= MOST_CALLS || self.stacks.len() >= MOST_STACKS {
            (self.calls, self.stacks) = Default::default();
        }
        let known = self.stacks.get(points.as_slice()).map(Arc::clone);
        let points: Points = known.unwrap_or_else(|| {
            let points = Points::from(points);
            self.stacks.insert(Arc::clone(&points));
            points
        });
        let [later, earlier] = self.calls.entry(socket).or_default();
        *earlier = later.replace(KeptCall { ktime_ns, points, code });
    }

    fn of(&self, socket: KernelSocket, ktime_ns: u64) -> Option<CallStack> {
        let mut calls = self.calls.get(&socket)?.iter().flatten();
        let call = calls.find(|call| call.ktime_ns == ktime_ns)?;
        Some(CallStack { points: Arc::clone(&call.points), code: call.code.upgrade() })
    }
}

#[cfg(test)]
mod tests;
