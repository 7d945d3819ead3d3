//! Names the lines of code on a stack: ELF symbols and DWARF of the process's own files (inside its
//! container, and after they were deleted), and the map files that JIT compilers write to /tmp.

use crate::model::stack::Stack;
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
    deadline::{Aside, NoAnswer},
    frame::{Frame, Interest, frame, named},
    perf_map,
};

/// Stacks kept by name.
const KEPT_STACKS: usize = 4096;

/// Files of which a symbolizer may know the symbols; it keeps each open, with all it has read of it, and files with
/// their debug information beside them.
const MAX_FILES: usize = 200;

/// Longest that the naming of a stack may take. Reading what a large program has on its lines of code takes a second or
/// two, once.
const LIMIT: Duration = Duration::from_secs(5);

/// Frames named of one stack.
const MAX_FRAMES: usize = 64;

/// Names stacks, and remembers those it has named.
pub(crate) struct Symbols {
    /// Asked for the stack of a process with these addresses.
    resolver: Aside<(u32, Vec<u64>), Option<Stack>>,
    /// `None` where there is nothing to know.
    kept: FxHashMap<(u32, u32), Option<Arc<Stack>>>,
}

impl Symbols {
    /// Has named nothing yet.
    pub(crate) fn new(proc_root: &Path) -> Self {
        let proc_root = proc_root.to_owned();
        let start = move || {
            let mut resolver = Resolver::new(proc_root.clone());
            Box::new(move |(pid, addresses): (u32, Vec<u64>)| resolver.resolve(pid, &addresses)) as Box<_>
        };
        Self { resolver: Aside::new(LIMIT, start), kept: FxHashMap::default() }
    }

    /// Names the stack with this id of a process; its addresses are asked for when it has no name yet, and are those
    /// of a process that is still alive, or none. `None` when nothing is known of it.
    pub(crate) fn name(
        &mut self,
        pid: u32,
        id: u32,
        addresses: impl FnOnce() -> Vec<u64>,
    ) -> Option<Arc<Stack>> {
        if let Some(stack) = self.kept.get(&(pid, id)) {
            return stack.clone();
        }
        let addresses = addresses();
        if addresses.is_empty() {
            return None;
        }
        let answer = self.resolver.ask((pid, addresses)).inspect_err(|error| {
            // Said once of each thread that is lost, not of each stack that goes without a name therefore.
            let level = if let NoAnswer::Late(_) = error { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "the stacks of process {pid} cannot be named: {error}");
        });
        let stack = answer.unwrap_or_default().map(Arc::new);
        if self.kept.len() >= KEPT_STACKS {
            self.kept.clear();
        }
        self.kept.insert((pid, id), stack.clone());
        stack
    }
}

/// Looks into the files that a process has mapped. They are its own: looking into them may take any time.
struct Resolver {
    proc_root: PathBuf,
    symbolizer: Symbolizer,
    /// Files that the symbolizer was led to.
    files: Rc<Cell<usize>>,
}

impl Resolver {
    fn new(proc_root: PathBuf) -> Self {
        let files = Rc::default();
        Self { proc_root, symbolizer: symbolizer(&files), files }
    }

    fn resolve(&mut self, pid: u32, addresses: &[u64]) -> Option<Stack> {
        if self.files.get() >= MAX_FILES {
            self.files.set(0);
            self.symbolizer = symbolizer(&self.files);
        }
        // A return address is that of the instruction after the call.
        let calls: Vec<u64> =
            addresses.iter().take(MAX_FRAMES).map(|address| address.saturating_sub(1)).collect();
        let mut symbols = self.symbolize(pid, &calls);
        // Where no code lies, the stack was walked astray.
        let is_astray = |symbol: &Symbolized<'_>| matches!(symbol, Symbolized::Unknown(Reason::Unmapped));
        symbols.truncate(symbols.iter().position(is_astray).unwrap_or(symbols.len()));
        let made = self.made_at_run_time(pid, &calls, &symbols);
        // So it was, most likely, where the last addresses have no name.
        let is_named =
            |(symbol, made): (&Symbolized<'_>, &Option<String>)| symbol.as_sym().is_some() || made.is_some();
        symbols.truncate(symbols.iter().zip(&made).rposition(is_named)? + 1);
        let mut frames = Vec::new();
        for ((symbolized, address), made) in symbols.iter().zip(&calls).zip(made) {
            match (symbolized, made) {
                (Symbolized::Sym(symbol), _) => frames.extend(named(symbol)),
                (Symbolized::Unknown(_), Some(name)) => frames.push(frame(&name, None, None)),
                (Symbolized::Unknown(_), None) => frames.push(Frame {
                    text: format!("{address:#x}"),
                    interest: Interest::None,
                    is_outermost: false,
                }),
            }
        }
        // Below the outermost function there may be anything. A stack that is longer than what is looked at was not
        // walked in vain.
        let is_cut = calls.len() < MAX_FRAMES && !frames.iter().any(|frame| frame.is_outermost);
        let site = frames.iter().rev().max_by_key(|frame| frame.interest);
        let site = site.filter(|frame| frame.interest > Interest::None).map(|frame| frame.text.clone());
        Some(Stack { site, is_cut, frames: frames.into_iter().map(|frame| frame.text).collect() })
    }

    /// What the files say that the process has mapped.
    fn symbolize(&self, pid: u32, calls: &[u64]) -> Vec<Symbolized<'_>> {
        // Perf maps are looked into afterwards: here, one that is unfinished would spoil the whole stack.
        let mut process = Process::new(Pid::from(pid));
        process.perf_map = false;
        let mut plain = process.clone();
        plain.debug_syms = false;
        let (source, plain) = (Source::Process(process), Source::Process(plain));
        let all = self.symbolizer.symbolize(&source, Input::AbsAddr(calls));
        all.unwrap_or_else(|error| {
            log::debug!("naming a stack of process {pid}: {error}");
            // A mapping that cannot be read, as of a file in memory with code that was made at run time, spoils all of
            // them. Each by itself, then.
            let alone = |call: &u64| {
                let ask = |source| self.symbolizer.symbolize_single(source, Input::AbsAddr(*call));
                // Debug information may be damaged, or be found on this host and belong to another build of the file
                // than a container has; its functions still have names.
                ask(&source).or_else(|_| ask(&plain))
            };
            let unknown = |_| Symbolized::Unknown(Reason::IgnoredError);
            calls.iter().map(|call| alone(call).unwrap_or_else(unknown)).collect()
        })
    }

    /// The names that the process itself tells of those that no file has a name for.
    fn made_at_run_time(&self, pid: u32, calls: &[u64], symbols: &[Symbolized<'_>]) -> Vec<Option<String>> {
        let calls = &calls[..symbols.len()];
        if symbols.iter().all(|symbol| symbol.as_sym().is_some()) {
            return vec![None; calls.len()];
        }
        perf_map::names(&self.proc_root, pid, calls)
            .inspect_err(|error| log::debug!("the functions that process {pid} made at run time: {error}"))
            .unwrap_or_else(|_| vec![None; calls.len()])
    }
}

/// A symbolizer that counts the files it is led to: it never closes one.
fn symbolizer(files: &Rc<Cell<usize>>) -> Symbolizer {
    let files = Rc::clone(files);
    let count = move |member: ProcessMemberInfo<'_>| {
        if let ProcessMemberType::Path(_) = member.member_entry {
            files.set(files.get() + 1);
        }
        // It is to go on by itself.
        Ok(None)
    };
    Symbolizer::builder().set_process_dispatcher(count).build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
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
        let stack = symbols.name(std::process::id(), 1, || vec![a_line_to_be_found()]).unwrap();
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        assert!(stack.frames[0].contains("a_line_to_be_found (symbols.rs:"), "{stack:?}");
        assert_eq!(stack.site.as_ref(), stack.frames.first());
        assert!(stack.is_cut);
    }

    #[test]
    fn what_is_no_code_ends_the_stack() {
        let mut symbols = Symbols::new(Path::new("/proc"));
        let stack = symbols.name(std::process::id(), 1, || vec![a_line_to_be_found(), 0x10, 0x20]).unwrap();
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        assert!(stack.is_cut);
    }
}
