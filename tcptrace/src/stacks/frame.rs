//! Renders a line of a stack, and rates how likely it is the application's own code. Pure.

use std::path::Path;

use blazesym::symbolize::{CodeInfo, Sym};

use super::go::{
    line::Line,
    package::{Author, author},
};

/// How likely a line is the application's own code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Interest {
    /// The language's runtime, or the C library.
    None,
    /// An interpreter: better than none.
    Some,
    /// The program's own code.
    Own,
}

/// One line of a stack.
pub(super) struct Frame {
    pub(super) text: String,
    pub(super) interest: Interest,
    pub(super) is_outermost: bool,
}

/// The frames of one address, innermost first: the functions inlined there, then the function itself.
pub(super) fn named<'a>(symbol: &'a Sym<'a>) -> impl Iterator<Item = Frame> + 'a {
    let module = symbol.module.as_deref().map(Path::new);
    let inlined = symbol
        .inlined
        .iter()
        .rev()
        .map(move |inlined| frame(&inlined.name, inlined.code_info.as_ref(), module));
    inlined.chain(std::iter::once(frame(&symbol.name, symbol.code_info.as_deref(), module)))
}

/// The line of a function; its source position and module may be unknown.
pub(super) fn frame(name: &str, code: Option<&CodeInfo<'_>>, module: Option<&Path>) -> Frame {
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
    let interest = if is_go(file) {
        let path = code.map(|code| code.to_path().to_string_lossy().into_owned());
        let place = path.map(|path| (path, code.and_then(|code| code.line).unwrap_or_default()));
        let function = name.to_owned();
        go_interest(&Line { function, place, is_of_main_module: false })
    } else if is_runtime(name, directory, file, module) {
        Interest::None
    } else if is_interpreter(name, module) {
        Interest::Some
    } else {
        Interest::Own
    };
    Frame { text, interest, is_outermost: is_outermost(name) }
}

/// A line of a Go program.
pub(super) fn go_frame(line: &Line) -> Frame {
    let Line { function, place, is_of_main_module: _ } = line;
    let text = match place {
        Some((path, line)) => format!("{function} ({}:{line})", path.rsplit('/').next().unwrap_or(path)),
        None => function.clone(),
    };
    Frame { text, interest: go_interest(line), is_outermost: is_outermost(function) }
}

fn go_interest(line: &Line) -> Interest {
    match author(line) {
        // A library is no more telling than Go's own: which part of the program called it is not in either.
        Author::Go | Author::Library => Interest::None,
        Author::Program => Interest::Own,
    }
}

/// Go code whose line table was not read: a PIE of Go before 1.18.
fn is_go(file: Option<&Path>) -> bool {
    file.and_then(Path::extension).is_some_and(|extension| extension == "go")
}

/// Where the stack of a thread begins.
fn is_outermost(name: &str) -> bool {
    matches!(
        name,
        "main"
            | "std::rt::lang_start"
            | "_start"
            | "start_thread"
            | "__libc_start_main"
            | "__libc_start_main_impl"
            | "__libc_start_call_main"
            | "clone"
            | "clone3"
            | "__clone3"
            | "runtime.goexit"
            | "runtime.goexit.abi0"
    ) || name.ends_with("::thread_start")
}

/// Code that does not explain a leak: the language's runtime, the C library, wrappers of system calls.
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

/// An interpreter or virtual machine, and the libraries that come with it: the code it runs has names of its own.
fn is_interpreter(name: &str, module: Option<&Path>) -> bool {
    const MODULES: [&str; 7] =
        ["libjvm.so", "libjli.so", "libnet.so", "libnio.so", "libnode.so", "libpython", "python"];
    const PACKAGES: [&str; 5] = ["java.", "javax.", "sun.", "jdk.", "StubRoutines"];
    // Node.js names its own functions `JS:~connect node:net:1038:25`.
    let is_node = || name.starts_with("JS:") && name.contains(" node:");
    // Java: `void java.net.Socket.connect(java.net.SocketAddress, int)`.
    let is_java = || {
        let method = name.split('(').next().and_then(|typed| typed.trim_end().rsplit(' ').next());
        name == "Interpreter"
            || method.is_some_and(|method| PACKAGES.iter().any(|package| method.starts_with(package)))
    };
    match module.and_then(Path::file_name).map(|module| module.to_string_lossy()) {
        Some(module) => module == "node" || MODULES.iter().any(|prefix| module.starts_with(prefix)),
        None => is_node() || is_java(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_told_from_what_it_runs() {
        let module = |path| Some(Path::new(path));
        assert!(is_interpreter("node::TCPWrap::Connect", module("/usr/bin/node")));
        assert!(is_interpreter("JS:~connect node:net:1038:25", None));
        assert!(is_interpreter("_PyEval_EvalFrameDefault", module("/usr/bin/python3.12")));
        assert!(is_interpreter("void java.net.Socket.connect(java.net.SocketAddress, int)", None));
        assert!(is_interpreter("StubRoutines (1)", None));
        assert!(!is_interpreter("java.util.List Leak.handleRefund(java.lang.String)", None));
        assert!(!is_interpreter("JS:~handleRefund /srv/refunds.js:3:22", None));
        assert!(!is_interpreter("main.main", module("/usr/bin/node_exporter")));
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
