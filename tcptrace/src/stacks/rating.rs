//! Whose code a frame is: the runtime's, an interpreter's, a library's, or the application's own. Goes by paths and
//! shapes of names; short lists where nothing else tells. Pure.

use std::path::Path;

use super::{
    binary::Binary,
    kind::Kind,
    linked_libraries, names_of_languages,
    sources::{installed_source, of_source, package_of},
};

#[cfg(test)]
mod tests;

/// What is known of a frame, of a function that is in a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Code<'a> {
    pub(super) function: &'a str,
    /// The source file, if known.
    pub(super) source: Option<&'a Path>,
    /// The file that the machine code is in.
    pub(super) module: Option<&'a Binary>,
    /// The program that the process runs.
    pub(super) program: Option<&'a Binary>,
}

/// Rates the code of a file.
pub(super) fn rate(code: Code<'_>) -> Kind {
    let Code { function, source, module, program } = code;
    if let Some(kind) = module.and_then(|module| of_module(module, program)) {
        return kind;
    }
    if let Some(kind) = source.and_then(|source| of_source(source).or_else(|| installed_source(source))) {
        return kind;
    }
    let crates = match source {
        Some(source) => source.extension().is_some_and(|extension| extension == "rs").then_some(&[][..]),
        None => module.filter(|module| module.traits.has_rust).map(|module| &*module.traits.crates),
    };
    // A name says nothing where it is known which file it stands in: anybody may call a function `connect`.
    let is_of_c = source.is_none_or(of_musl);
    of_name(function, crates, is_of_c)
}

/// Whether a source file may be one of musl's, whose paths are relative: `src/network/connect.c`.
fn of_musl(source: &Path) -> bool {
    const FOLDERS: [&str; 5] = ["src/network", "src/thread", "src/thread/x86_64", "src/env", "crt"];
    source.parent().is_some_and(|folder| FOLDERS.iter().any(|known| folder == Path::new(known)))
}

/// Rates a module: `None` for the application's own.
pub(super) fn of_module(module: &Binary, program: Option<&Binary>) -> Option<Kind> {
    /// The C library, the dynamic linker, and what compilers add to every program.
    const RUNTIMES: [&str; 13] = [
        "libc.so",
        "libc-",
        "libc.musl",
        "ld-linux",
        "ld-musl",
        "ld-2",
        "libpthread",
        "libstdc++",
        "libc++",
        "libgcc_s",
        "libm.so",
        "librt.so",
        "[vdso]",
    ];
    /// Libraries that programs bring along.
    const BROUGHT: [&str; 5] = ["libcurl", "libpq.", "libuv.", "libssl.", "libcrypto."];
    let Binary { path: module, traits } = module;
    let program = program.map(|program| &*program.path);
    let name = module.file_name()?.to_string_lossy();
    if RUNTIMES.iter().any(|prefix| name.starts_with(prefix)) {
        return Some(Kind::Runtime);
    }
    if let Some(language) = traits.interpreter {
        return Some(Kind::Interpreter(language));
    }
    let is_program = program.is_some_and(|program| plain_path(program) == plain_path(module));
    if is_program {
        return None;
    }
    if let Some(package) = package_of(module) {
        return Some(Kind::Library(package));
    }
    let is_part = |program| belongs_to(module, program) || is_in_folder_of(module, program);
    let is_library = is_installed(module) && !program.is_some_and(is_part);
    (is_library || BROUGHT.iter().any(|prefix| name.starts_with(prefix)))
        .then(|| Kind::Library(name.trim_end_matches(" (deleted)").to_owned()))
}

/// A path as it was before the file was deleted (`d_path` of fs/d_path.c appends so).
fn plain_path(path: &Path) -> &[u8] {
    let path = path.as_os_str().as_encoded_bytes();
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

/// Whether a distribution or a package manager has put it there.
pub(super) fn is_installed(module: &Path) -> bool {
    const PLACES: [&str; 12] = [
        "/usr/lib",
        "/usr/lib32",
        "/usr/lib64",
        "/usr/libexec",
        "/lib",
        "/lib32",
        "/lib64",
        "/usr/local/lib",
        "/usr/local/lib64",
        "/nix/store",
        "/gnu/store",
        "/snap",
    ];
    PLACES.iter().any(|place| module.starts_with(place))
}

/// Whether a module lies among libraries in a folder that is called as the program is: `/usr/lib/shop/libledger.so`.
fn is_in_folder_of(module: &Path, program: &Path) -> bool {
    let name = program.file_name();
    module.parent().is_some_and(|folder| folder.components().any(|part| Some(part.as_os_str()) == name))
}

/// Whether a module is a part of the program: it lies where the program lies, in a folder of its own.
fn belongs_to(module: &Path, program: &Path) -> bool {
    let mut folder = program.parent();
    while let Some(parent) = folder.filter(|folder| folder.ends_with("bin") || folder.ends_with("sbin")) {
        folder = parent.parent();
    }
    let is_own = |folder: &&Path| {
        let is_shared = |name: &str| name.starts_with("lib") || name.contains("-linux-") || name == "store";
        let name = folder.file_name().map(|name| name.to_string_lossy());
        folder.components().count() > 3 - usize::from(folder.starts_with("/snap"))
            && name.is_some_and(|name| !is_shared(&name))
    };
    folder.filter(is_own).is_some_and(|folder| module.starts_with(folder))
}

/// Rates a name that little else is known of. If it may be one of Rust, `crates` are the crates of others that are known to be
/// beside it; `is_of_c` says whether it may be one of C, linked statically.
fn of_name(name: &str, crates: Option<&[Box<str>]>, is_of_c: bool) -> Kind {
    /// Go's standard packages; others begin with a domain, or are called main.
    const GO_RUNTIME: [&str; 4] = ["runtime.", "runtime/", "internal/", "syscall."];
    const GO_LIBRARIES: [&str; 2] = ["net.", "net/"];
    /// What C libraries call the functions around system calls, and where threads and programs begin.
    const OF_C: [&str; 25] = [
        "connect",
        "accept",
        "accept4",
        "__connect",
        "__accept",
        "__accept4",
        "__libc_connect",
        "__libc_accept",
        "__libc_accept4",
        "__internal_syscall_cancel",
        "__syscall_cancel",
        "__syscall_cancel_arch",
        // musl
        "sccp",
        "__syscall_cp",
        "__syscall_cp_c",
        "syscall",
        "_start",
        "start_thread",
        "clone",
        "clone3",
        "__clone3",
        "__libc_start_main",
        "__libc_start_main_impl",
        "__libc_start_call_main",
        // libstdc++
        "execute_native_thread_routine",
    ];
    /// How names begin of what compilers put around functions of the C library, and of what glibc has within itself for threads.
    const AROUND_C: [&str; 8] = [
        "__interceptor_",
        "___interceptor_",
        "__x86_indirect_thunk",
        "__llvm_retpoline",
        "__pthread_",
        "___pthread_",
        "__nptl_",
        "__libc_",
    ];
    if is_of_c && (GO_RUNTIME.iter().any(|prefix| name.starts_with(prefix)) || OF_C.contains(&name)) {
        return Kind::Runtime;
    }
    if is_of_c && GO_LIBRARIES.iter().any(|prefix| name.starts_with(prefix)) {
        let package = name.rfind('/').map_or(0, |at| at + 1);
        let end = name.get(package..).and_then(|rest| rest.find('.')).map_or(name.len(), |dot| package + dot);
        return Kind::Library(name.get(..end).unwrap_or(name).to_owned());
    }
    if is_of_c && AROUND_C.iter().any(|prefix| name.starts_with(prefix)) {
        return Kind::Runtime;
    }
    if let Some(library) = linked_libraries::of_c(name).filter(|_| is_of_c) {
        return Kind::Library(library.to_owned());
    }
    if let Some(kind) = names_of_languages::of_name(name) {
        return kind;
    }
    // `<tokio::net::TcpStream as …>::poll`, `<&mut hyper::…>`.
    let start = name.trim_start_matches(['<', '&', '*', '(']);
    let start = ["mut ", "dyn ", "impl ", "const "]
        .iter()
        .find_map(|prefix| start.strip_prefix(prefix))
        .unwrap_or(start);
    match root(start) {
        Some("std" | "__gnu_cxx" | "__cxxabiv1") => Kind::Runtime,
        Some("core" | "alloc" | "std_detect") if crates.is_some() => Kind::Runtime,
        Some(root) if crates.is_some_and(|crates| is_crate(root, crates)) => Kind::Library(root.to_owned()),
        Some(root) if linked_libraries::has_namespace(root) => Kind::Library(root.to_owned()),
        _ => Kind::Own,
    }
}

fn is_crate(name: &str, known: &[Box<str>]) -> bool {
    known.iter().any(|known| **known == *name) || linked_libraries::has_crate(name)
}

/// The outermost namespace of a name, also of one of C++ that was too long to be written out: `_ZNK5boost4asio…`.
fn root(name: &str) -> Option<&str> {
    if let Some(nested) = name.strip_prefix("_ZN") {
        let counted = nested.trim_start_matches(['K', 'V', 'R', 'O']);
        let digits = counted.bytes().take_while(u8::is_ascii_digit).count();
        let length: usize = counted.get(..digits)?.parse().ok()?;
        return counted.get(digits..digits.checked_add(length)?);
    }
    name.split_once("::").map(|(root, _)| root)
}
