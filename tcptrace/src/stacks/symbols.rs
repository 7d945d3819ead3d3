//! Names the lines of code on a stack, from ELF symbols, DWARF and Go's line table in the process's own files
//! (inside its container, even after deletion) and from the map files that JIT compilers write to /tmp. Never blocks
//! longer than its deadline.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use blazesym::{
    Pid,
    symbolize::{
        Input, ProcessMemberInfo, ProcessMemberType, Reason, Symbolized, Symbolizer,
        source::{Process, Source},
    },
};
use rustc_hash::FxHashMap;

use super::{
    deadline::{DeadlineThread, NoAnswer},
    frame::{self, Frame, Interest, frame, go_frame},
    go::GoCode,
    perf_map,
    unwind::Addresses,
};
use crate::{host::live_thread::live_thread, model::stack::Stack};

/// Named stacks kept.
const KEPT_STACKS: usize = 4096;

/// Most files of a symbolizer. It keeps each one open with all it has read of it, and separate debug files besides.
const MAX_FILES: usize = 200;

/// Longest time to name a stack. Reading the line tables of a large program takes a second or two, once.
const NAMING_TIMEOUT: Duration = Duration::from_secs(5);

/// Most frames named of a stack.
const MAX_FRAMES: usize = 64;

/// Names stacks, and caches them.
pub(crate) struct Symbols {
    /// Takes a pid and the addresses of a stack.
    resolver: DeadlineThread<(u32, Vec<u64>), Option<Stack>>,
    /// By pid and stack; `None` if nothing is known.
    kept: FxHashMap<(u32, Addresses), Option<Arc<Stack>>>,
}

impl Symbols {
    pub(crate) fn new(proc_root: &Path) -> Self {
        let proc_root = proc_root.to_owned();
        let start = move || {
            let mut resolver = Resolver::new(proc_root.clone());
            Box::new(move |(pid, addresses): (u32, Vec<u64>)| resolver.resolve(pid, &addresses)) as Box<_>
        };
        Self { resolver: DeadlineThread::new(NAMING_TIMEOUT, start), kept: FxHashMap::default() }
    }

    /// Names a stack of a process; `None` if nothing is known. Asks whether the process that made the call `is_there`
    /// still, for a stack that is not cached: addresses mean nothing to another one.
    pub(crate) fn name(
        &mut self,
        pid: u32,
        addresses: &Addresses,
        is_there: impl FnOnce() -> bool,
    ) -> Option<Arc<Stack>> {
        let key = (pid, Arc::clone(addresses));
        if let Some(stack) = self.kept.get(&key) {
            return stack.clone();
        }
        if addresses.is_empty() || !is_there() {
            return None;
        }
        let answer = self.resolver.ask((pid, addresses.to_vec())).inspect_err(|error| {
            // Warns once per lost thread, not for each stack that stays unnamed because of it.
            let level = if let NoAnswer::Late(_) = error { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "the stacks of process {pid} cannot be named: {error}");
        });
        let stack = answer.unwrap_or_default().map(Arc::new);
        if self.kept.len() >= KEPT_STACKS {
            self.kept.clear();
        }
        self.kept.insert(key, stack.clone());
        stack
    }
}

/// Reads the files that a process has mapped. They are untrusted: reading them may take any time.
struct Resolver {
    proc_root: PathBuf,
    symbolizer: Symbolizer,
    go: GoCode,
    /// Files that the symbolizer has opened.
    files: Rc<Cell<usize>>,
}

impl Resolver {
    fn new(proc_root: PathBuf) -> Self {
        let files = Rc::default();
        Self { proc_root, symbolizer: symbolizer(&files), go: GoCode::default(), files }
    }

    fn resolve(&mut self, pid: u32, addresses: &[u64]) -> Option<Stack> {
        if self.files.get() >= MAX_FILES {
            self.files.set(0);
            self.symbolizer = symbolizer(&self.files);
        }
        // The files of a process whose main thread has ended are those of another thread.
        let pid = live_thread(&self.proc_root, pid).unwrap_or(pid);
        // A return address points behind the call.
        let calls: Vec<u64> =
            addresses.iter().take(MAX_FRAMES).map(|address| address.saturating_sub(1)).collect();
        let go = self.go.lines(&self.proc_root, pid, &calls);
        // The frames at each address, innermost first; none without a name.
        let mut named: Vec<Vec<Frame>> =
            go.iter().map(|lines| lines.iter().map(go_frame).collect()).collect();
        self.name_by_symbols(pid, &calls, &mut named);
        self.name_made_at_run_time(pid, &calls, &mut named);
        // Trailing addresses without a name most likely mean that the stack walk went astray.
        named.truncate(named.iter().rposition(|frames| !frames.is_empty())? + 1);
        let unnamed = |address: &u64| Frame {
            text: format!("{address:#x}"),
            interest: Interest::None,
            is_outermost: false,
        };
        let frames = named.into_iter().zip(&calls);
        let frames: Vec<Frame> = frames
            .flat_map(|(named, call)| if named.is_empty() { vec![unnamed(call)] } else { named })
            .collect();
        // Anything may lie below the outermost function. A stack longer than MAX_FRAMES did not end early.
        let is_cut = calls.len() < MAX_FRAMES && !frames.iter().any(|frame| frame.is_outermost);
        let site = frames.iter().rev().max_by_key(|frame| frame.interest);
        let site = site.filter(|frame| frame.interest > Interest::None).map(|frame| frame.text.clone());
        Some(Stack { site, is_cut, frames: frames.into_iter().map(|frame| frame.text).collect() })
    }

    /// Names by the files that the process has mapped what has no name yet.
    fn name_by_symbols(&self, pid: u32, calls: &[u64], named: &mut Vec<Vec<Frame>>) {
        let (indices, calls) = unnamed(calls, named);
        for (index, symbol) in indices.into_iter().zip(self.symbolize(pid, &calls)) {
            match symbol {
                Symbolized::Sym(symbol) => named[index] = frame::named(&symbol).collect(),
                // An address outside any mapping means that the stack walk went astray.
                Symbolized::Unknown(Reason::Unmapped) => return named.truncate(index),
                Symbolized::Unknown(_) => {}
            }
        }
    }

    /// Names by the process's own map what no file has a name for.
    fn name_made_at_run_time(&self, pid: u32, calls: &[u64], named: &mut [Vec<Frame>]) {
        let (indices, calls) = unnamed(calls, named);
        if calls.is_empty() {
            return;
        }
        match perf_map::names(&self.proc_root, pid, &calls) {
            Ok(names) => {
                for (index, name) in indices.into_iter().zip(names) {
                    named[index].extend(name.map(|name| frame(&name, None, None)));
                }
            }
            Err(error) => log::debug!("the functions that process {pid} made at run time: {error}"),
        }
    }

    /// Symbolizes from the files that the process has mapped.
    fn symbolize(&self, pid: u32, calls: &[u64]) -> Vec<Symbolized<'_>> {
        // Perf maps come later: an unfinished one would spoil the whole stack here.
        let mut process = Process::new(Pid::from(pid));
        process.perf_map = false;
        let mut plain = process.clone();
        plain.debug_syms = false;
        let (source, plain) = (Source::Process(process), Source::Process(plain));
        let all = self.symbolizer.symbolize(&source, Input::AbsAddr(calls));
        all.unwrap_or_else(|error| {
            log::debug!("naming a stack of process {pid}: {error}");
            // One unreadable mapping, as of a memory file with JIT-compiled code, spoils the batch: retry each address
            // alone.
            let alone = |call: &u64| {
                let ask = |source| self.symbolizer.symbolize_single(source, Input::AbsAddr(*call));
                // Debug information may be damaged, or found on this host for another build than the container's; the
                // functions still have names.
                ask(&source).or_else(|_| ask(&plain))
            };
            let unknown = |_| Symbolized::Unknown(Reason::IgnoredError);
            calls.iter().map(|call| alone(call).unwrap_or_else(unknown)).collect()
        })
    }
}

/// The addresses without a name, and which of all they are.
fn unnamed(calls: &[u64], named: &[Vec<Frame>]) -> (Vec<usize>, Vec<u64>) {
    let without = calls.iter().enumerate().zip(named).filter(|(_, frames)| frames.is_empty());
    without.map(|(call, _)| call).unzip()
}

/// A symbolizer that counts the files it opens, because it never closes one.
fn symbolizer(files: &Rc<Cell<usize>>) -> Symbolizer {
    let files = Rc::clone(files);
    let count = move |member: ProcessMemberInfo<'_>| {
        if let ProcessMemberType::Path(_) = member.member_entry {
            files.set(files.get() + 1);
        }
        // Leaves the work to blazesym.
        Ok(None)
    };
    Symbolizer::builder().set_process_dispatcher(count).build()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_line_to_be_found() -> u64 {
        // Some address within this very function.
        a_line_to_be_found as *const () as u64 + 2
    }

    #[test]
    fn an_address_of_this_process_has_a_name_and_a_line() {
        let mut symbols = Symbols::new(Path::new("/proc"));
        let stack = symbols.name(std::process::id(), &[a_line_to_be_found()].into(), || true).unwrap();
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        assert!(stack.frames[0].contains("a_line_to_be_found (symbols.rs:"), "{stack:?}");
        assert_eq!(stack.site.as_ref(), stack.frames.first());
        assert!(stack.is_cut);
    }

    #[test]
    fn what_is_no_code_ends_the_stack() {
        let mut symbols = Symbols::new(Path::new("/proc"));
        let stack =
            symbols.name(std::process::id(), &[a_line_to_be_found(), 0x10, 0x20].into(), || true).unwrap();
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        assert!(stack.is_cut);
    }
}
