//! Names the lines of code on a stack: ELF symbols and DWARF of the process's own files (inside its
//! container, and after they were deleted), and the map files that JIT compilers write to /tmp.

use std::{path::Path, sync::Arc};

use blazesym::{
    Pid,
    symbolize::{
        CodeInfo, Input, Reason, Sym, Symbolized, Symbolizer,
        source::{Process, Source},
    },
};
use rustc_hash::FxHashMap;

/// Stacks kept by name.
const KEPT_STACKS: usize = 4096;

/// Frames named of one stack.
const MAX_FRAMES: usize = 64;

/// A stack with names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// `function (file:line)`, innermost first.
    pub frames: Vec<String>,
    /// The innermost frame that is not of the language's run-time or the C library: the line to look at.
    pub site: Option<String>,
    /// The stack ends early: the code has no frame pointers to follow.
    pub is_cut: bool,
}

/// Names stacks, and remembers those it has named.
pub struct Symbols {
    symbolizer: Symbolizer,
    kept: FxHashMap<(u32, u32), Arc<Stack>>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { symbolizer: Symbolizer::new(), kept: FxHashMap::default() }
    }
}

/// One line of a stack.
struct Frame {
    text: String,
    is_of_interest: bool,
    is_outermost: bool,
}

impl Symbols {
    /// Names the stack with this id of a process that is still alive. `None` when nothing is known of it.
    pub fn name(&mut self, pid: u32, id: u32, addresses: impl FnOnce() -> Vec<u64>) -> Option<Arc<Stack>> {
        if let Some(stack) = self.kept.get(&(pid, id)) {
            return Some(Arc::clone(stack));
        }
        let addresses = addresses();
        if addresses.is_empty() {
            return None;
        }
        let stack = Arc::new(self.resolve(pid, &addresses)?);
        if self.kept.len() >= KEPT_STACKS {
            self.kept.clear();
        }
        self.kept.insert((pid, id), Arc::clone(&stack));
        Some(stack)
    }

    fn resolve(&self, pid: u32, addresses: &[u64]) -> Option<Stack> {
        let source = Source::Process(Process::new(Pid::from(pid)));
        // A return address is that of the instruction after the call.
        let calls: Vec<u64> =
            addresses.iter().take(MAX_FRAMES).map(|address| address.saturating_sub(1)).collect();
        let symbols = self
            .symbolizer
            .symbolize(&source, Input::AbsAddr(&calls))
            .inspect_err(|error| log::debug!("naming a stack of process {pid}: {error}"))
            .ok()?;
        let mut frames = Vec::new();
        for (symbolized, address) in symbols.iter().zip(&calls) {
            match symbolized {
                Symbolized::Sym(symbol) => frames.extend(named(symbol)),
                // No code lies there: from here on the stack was walked astray.
                Symbolized::Unknown(Reason::Unmapped) => break,
                Symbolized::Unknown(_) => frames.push(Frame {
                    text: format!("{address:#x}"),
                    is_of_interest: false,
                    is_outermost: false,
                }),
            }
        }
        // Below the outermost function there may be anything.
        let is_cut = !frames.iter().any(|frame| frame.is_outermost);
        let site = frames.iter().find(|frame| frame.is_of_interest).map(|frame| frame.text.clone());
        Some(Stack { site, is_cut, frames: frames.into_iter().map(|frame| frame.text).collect() })
    }
}

/// The frames of one address, innermost first: the functions inlined there, then the function itself.
fn named<'a>(symbol: &'a Sym<'a>) -> impl Iterator<Item = Frame> + 'a {
    let module = symbol.module.as_deref().map(Path::new);
    let inlined = symbol
        .inlined
        .iter()
        .rev()
        .map(move |inlined| frame(&inlined.name, inlined.code_info.as_ref(), module));
    inlined.chain(std::iter::once(frame(&symbol.name, symbol.code_info.as_deref(), module)))
}

fn frame(name: &str, code: Option<&CodeInfo<'_>>, module: Option<&Path>) -> Frame {
    let file = code.map(|code| Path::new(&code.file));
    let text = match (code, module.and_then(Path::file_name)) {
        (Some(code), _) => {
            let file = Path::new(&code.file).file_name().unwrap_or(&code.file).to_string_lossy();
            match code.line {
                Some(line) => format!("{name} ({file}:{line})"),
                None => format!("{name} ({file})"),
            }
        }
        (None, Some(module)) => format!("{name} ({})", module.to_string_lossy()),
        (None, None) => name.to_owned(),
    };
    let directory = code.and_then(|code| code.dir.as_deref()).unwrap_or(Path::new(""));
    Frame {
        text,
        is_of_interest: !is_runtime(name, directory, file, module),
        is_outermost: matches!(
            name,
            "main"
                | "std::rt::lang_start"
                | "_start"
                | "start_thread"
                | "__libc_start_main"
                | "__libc_start_main_impl"
                | "clone"
                | "clone3"
                | "__clone3"
        ) || name.ends_with("::thread_start"),
    }
}

/// Code that nobody looking for a leak wants to read: the language's run-time, the C library, wrappers
/// of system calls.
fn is_runtime(name: &str, directory: &Path, file: Option<&Path>, module: Option<&Path>) -> bool {
    const NAMES: [&str; 9] =
        ["std::", "core::", "alloc::", "<std::", "<core::", "tokio::", "mio::", "rustix::", "socket2::"];
    const MODULES: [&str; 5] = ["libc.so", "libc-", "ld-linux", "libpthread", "ld-musl"];
    let module = module.and_then(Path::file_name).map(|module| module.to_string_lossy());
    let is_below = |part: &str| {
        directory
            .components()
            .chain(file.into_iter().flat_map(Path::components))
            .any(|component| component.as_os_str() == part)
    };
    NAMES.iter().any(|prefix| name.starts_with(prefix))
        || module.is_some_and(|module| MODULES.iter().any(|prefix| module.starts_with(prefix)))
        || is_below("rustc")
        || is_below(".cargo")
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
        let mut symbols = Symbols::default();
        let stack = symbols.name(std::process::id(), 1, || vec![a_line_to_be_found()]).unwrap();
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        assert!(stack.frames[0].contains("a_line_to_be_found (symbols.rs:"), "{stack:?}");
        assert_eq!(stack.site.as_ref(), stack.frames.first());
        assert!(stack.is_cut);
    }

    #[test]
    fn what_is_no_code_ends_the_stack() {
        let mut symbols = Symbols::default();
        let stack = symbols.name(std::process::id(), 1, || vec![a_line_to_be_found(), 0x10, 0x20]).unwrap();
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        assert!(stack.is_cut);
    }

    #[test]
    fn the_run_time_is_passed_over() {
        let path = Path::new;
        assert!(is_runtime("std::net::tcp::TcpListener::accept", path(""), None, None));
        assert!(is_runtime("accept4", path(""), None, Some(path("/lib/x86_64-linux-gnu/libc.so.6"))));
        assert!(is_runtime("cvt", path("/rustc/abc/library/std/src"), Some(path("net.rs")), None));
        assert!(!is_runtime("shop::refunds::handle_refund", path("/src"), Some(path("refunds.rs")), None));
    }
}
