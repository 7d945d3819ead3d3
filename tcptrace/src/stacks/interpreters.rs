//! Which interpreter or virtual machine a file is, and what a function that it made at run time belongs to. Pure.

use std::path::{Component, Path};

use super::{
    elf::Elf,
    java,
    kind::Kind,
    php::{program as php_program, sources as php_sources},
    point::{Point, ScriptLanguage, ScriptLine},
    python::program::{self as python_program, is_launcher},
    ruby::{program as ruby_program, sources as ruby_sources},
    sources::of_source,
};
use crate::model::no_site::NoSiteBecause::{
    self, Interpreted, InterpretedDotnet, InterpretedErlang, InterpretedJava, InterpretedLua,
    InterpretedNode, InterpretedPerl, InterpretedPhp, InterpretedPython, InterpretedRuby,
};

/// The language that a program or a library runs, by its file: `python3.12`, `libpython3.12.so.1.0`, `php-fpm8.2`.
pub(super) fn by_name(file: &Path) -> Option<NoSiteBecause> {
    let name = file.file_name()?.to_string_lossy();
    // Modules in C of the standard library of Python.
    if file.components().any(|component| component.as_os_str() == "lib-dynload") {
        return Some(InterpretedPython);
    }
    if ruby_sources::is_extension(file) {
        return Some(InterpretedRuby);
    }
    match &*name {
        "libnet.so" | "libnio.so" | "libjava.so" | "libextnet.so" => return Some(InterpretedJava),
        "lisp.run" => return Some(Interpreted),
        name if name.starts_with("qemu-") && name != "qemu-nbd" => return Some(Interpreted),
        // `memcheck-amd64-linux`, which runs the program that was started.
        name if name.ends_with("-linux")
            && file.parent().is_some_and(|folder| folder.ends_with("valgrind")) =>
        {
            return Some(Interpreted);
        }
        _ => {}
    }
    let end = name.char_indices().find(|(at, character)| {
        let next = name.get(at + 1..).and_then(|rest| rest.chars().next());
        match character {
            '0'..='9' | '.' | ' ' => true,
            '-' => next.is_none_or(|next| next.is_ascii_digit()),
            _ => false,
        }
    });
    let stem = end.map_or(&*name, |(at, _)| name.get(..at).unwrap_or(&name));
    let plain = stem.strip_prefix("lib").unwrap_or(stem);
    Some(match plain {
        "python" | "pypy" => InterpretedPython,
        "java" | "jvm" | "jli" => InterpretedJava,
        "node" | "nodejs" => InterpretedNode,
        "ruby" => InterpretedRuby,
        "php" | "php-fpm" | "php-cgi" => InterpretedPhp,
        "beam" => InterpretedErlang,
        "dotnet" | "coreclr" | "clrjit" | "mono" | "mono-sgen" | "monosgen" | "System" => InterpretedDotnet,
        "perl" => InterpretedPerl,
        "lua" | "luajit" => InterpretedLua,
        _ if OTHERS.contains(&plain) && is_installed(file) => Interpreted,
        _ => return None,
    })
}

/// Other interpreters, and emulators, where programs are installed. Nothing in them has names.
const OTHERS: [&str; 30] = [
    "bash",
    "bun",
    "clisp",
    "csi",
    "dash",
    "deno",
    "ecl",
    "gawk",
    "gforth",
    "gprolog",
    "gsi",
    "gst",
    "guile",
    "julia",
    "ksh",
    "mawk",
    "moar",
    "newlisp",
    "ocamlrun",
    "octave-cli",
    "pike",
    "R",
    "racket",
    "rakudo",
    "sbcl",
    "swipl",
    "tcl",
    "tclsh",
    "wish",
    "zsh",
];

fn is_installed(file: &Path) -> bool {
    ["/usr", "/bin", "/opt", "/snap", "/nix/store", "/gnu/store"].iter().any(|place| file.starts_with(place))
        || file.components().any(|folder| matches!(folder.as_os_str().to_str(), Some(".deno" | ".bun")))
}

/// The language that a program runs by what it exports, whatever it is called: a program and Node.js, .NET or PHP are often
/// packed into one file. Where a program may embed the interpreter beside a lot of its own, that tells nothing.
pub(super) fn by_exports(elf: &Elf<'_>) -> Option<NoSiteBecause> {
    const NAMES: [&str; 6] = [
        // `node::Start(int, char**)` of src/node.h. Deno and Bun export what add-ons of Node.js need, too.
        "_ZN4node5StartEiPPc",
        // What runs JavaScript besides: Deno, Bun.
        "napi_create_function",
        "DotNetRuntimeInfo",
        "php_execute_script",
        "ruby_run_node",
        "perl_run",
    ];
    const LANGUAGES: [NoSiteBecause; 6] =
        [InterpretedNode, Interpreted, InterpretedDotnet, InterpretedPhp, InterpretedRuby, InterpretedPerl];
    let exported = elf.exported(NAMES)?;
    exported.iter().zip(LANGUAGES).find_map(|(address, language)| address.map(|_| language))
}

/// How names begin of functions that an interpreter, or what belongs to it, exports or needs; none where nothing tells.
pub(super) fn functions_of(language: NoSiteBecause) -> &'static [&'static str] {
    match language {
        InterpretedPython => &["Py", "_Py", "pypy", "rpython"],
        InterpretedJava => &["JLI_", "JVM_", "JNI_", "Java_"],
        InterpretedNode => &["_ZN4node", "_ZN2v8", "napi_"],
        InterpretedRuby => &["rb_", "ruby_"],
        InterpretedPhp => &["zend_", "php_"],
        InterpretedErlang => &["enif_", "erts_", "driver_"],
        InterpretedDotnet => {
            &["mono_", "coreclr_", "hostfxr_", "hostpolicy_", "SystemNative_", "jitStartup", "dlopen"]
        }
        InterpretedPerl => &["Perl_", "PL_"],
        InterpretedLua => &["lua_", "luaL_"],
        _ => &[],
    }
}

/// Rates a line that a virtual machine told. `program` is the package that it was started to run, where it is one.
pub(super) fn of_script(line: &ScriptLine, program: Option<&str>) -> Kind {
    match line.language {
        ScriptLanguage::Java => java::of_line(line),
        ScriptLanguage::Python => match of_python_line(line) {
            Kind::Library(package) if program == Some(&*package) => Kind::Own,
            Kind::Own if program.is_some() && is_launcher(line) => Kind::Interpreter(InterpretedPython),
            kind => kind,
        },
        ScriptLanguage::Php => match php_sources::of_line(line) {
            Kind::Library(package) if program == Some(&*package) => Kind::Own,
            kind => kind,
        },
        ScriptLanguage::Ruby => match ruby_sources::of_line(line) {
            Kind::Library(gem) if program == Some(&*gem) => Kind::Own,
            Kind::Own if program.is_some() && ruby_program::is_launcher(line) => {
                Kind::Interpreter(InterpretedRuby)
            }
            kind => kind,
        },
    }
}

/// Whether code has no file of its own. What a terminal or a notebook gave has none either, and somebody wrote it.
pub(super) fn is_made(line: &ScriptLine) -> bool {
    let file = line.file.as_deref();
    match line.language {
        ScriptLanguage::Python => file.is_some_and(|file| file.starts_with("<string>")),
        ScriptLanguage::Java => file.is_none_or(|file| file.ends_with(java::WITHIN)),
        ScriptLanguage::Php | ScriptLanguage::Ruby => false,
    }
}

/// The package that an interpreter was started to run, of a stack, innermost first; `None` where it runs a file of its own.
pub(super) fn program(points: &[Point]) -> Option<String> {
    python_program::package(points)
        .or_else(|| php_program::package(points))
        .or_else(|| ruby_program::package(points))
}

fn of_python_line(line: &ScriptLine) -> Kind {
    match &line.package {
        Some(package) => Kind::Library(package.to_string()),
        None => of_python(line.file.as_deref().unwrap_or("<frozen>")),
    }
}

/// Whether a file of Python may be the application's, as far as its path tells.
pub(super) fn may_be_own_python(path: &str) -> bool {
    of_python(path) == Kind::Own
}

/// Rates a function that was made at run time, by the name that its maker gave it.
pub(super) fn of_made(name: &str) -> Kind {
    /// What machines make for themselves.
    const JAVA_PARTS: [&str; 8] = [
        "StubRoutines",
        "Interpreter",
        "call_stub",
        "vtable chunks",
        "I2C/C2I",
        "flush_icache_stub",
        "Stub<",
        "~",
    ];
    const NODE_PARTS: [&str; 5] = ["Builtin:", "BytecodeHandler:", "Stub:", "RegExp:", "Handler:"];
    if NODE_PARTS.iter().any(|prefix| name.starts_with(prefix)) {
        return Kind::Interpreter(InterpretedNode);
    }
    // `JS:~connect node:net:1038:25`; earlier versions say `LazyCompile:`.
    let script = ["JS:", "LazyCompile:", "Function:", "Script:", "Eval:"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    if let Some(script) = script {
        let path = script.split_once(' ').map_or("", |(_, path)| path);
        if path.starts_with("node:") || path.is_empty() {
            return Kind::Interpreter(InterpretedNode);
        }
        let path = path.strip_prefix("file://").unwrap_or(path);
        return of_source(Path::new(path)).unwrap_or(Kind::Own);
    }
    // `py::connect:/usr/lib/python3.12/socket.py`.
    if let Some((_, path)) = name.strip_prefix("py::").and_then(|python| python.split_once(':')) {
        return of_python(path);
    }
    if JAVA_PARTS.iter().any(|prefix| name.starts_with(prefix)) {
        return Kind::Interpreter(InterpretedJava);
    }
    // `void java.net.Socket.connect(java.net.SocketAddress, int)`.
    let method = name.split('(').next().and_then(|typed| typed.trim_end().rsplit(' ').next());
    if method.is_some_and(java::is_of_jdk) {
        return Kind::Interpreter(InterpretedJava);
    }
    if let Some(library) = method.and_then(|method| java::common(java::package_of(method))) {
        return Kind::Library(library.to_owned());
    }
    // `void [System.Net.Sockets] System.Net.Sockets.Socket::Connect(…)[Tier0]`.
    if let Some(assembly) = name.split_once('[').and_then(|(_, rest)| rest.split_once("] ")) {
        let assembly = assembly.0;
        if assembly == "System" || assembly.starts_with("System.") || assembly.starts_with("Microsoft.") {
            return Kind::Library(assembly.to_owned());
        }
    }
    Kind::Own
}

/// What has no file and is the application's all the same: `python -c`, standard input, and notebooks.
const PYTHON_WITHOUT_FILE: [&str; 3] = ["<string>", "<stdin>", "<ipython-input-"];

fn of_python(path: &str) -> Kind {
    let packaged = of_source(Path::new(path));
    // Other names in brackets are those of frozen modules, the import machinery among them, and of code that libraries make.
    let is_made = path.starts_with('<') && !PYTHON_WITHOUT_FILE.iter().any(|name| path.starts_with(name));
    // Packages lie below the standard library's folder.
    let is_standard = is_made || is_of_standard_library(Path::new(path));
    match packaged {
        Some(kind) => kind,
        None if is_standard => Kind::Interpreter(InterpretedPython),
        None => of_frozen(path).unwrap_or(Kind::Own),
    }
}

/// Rates a file of a program that was frozen with all that it needs, as PyInstaller does: paths begin with the module then.
fn of_frozen(path: &str) -> Option<Kind> {
    /// Modules of the standard library that call on sockets, or run what does.
    const STANDARD: [&str; 28] = [
        "_pyrepl",
        "asyncio",
        "asyncore",
        "codeop",
        "concurrent",
        "contextlib",
        "email",
        "ftplib",
        "functools",
        "http",
        "imaplib",
        "importlib",
        "logging",
        "multiprocessing",
        "nntplib",
        "poplib",
        "runpy",
        "sched",
        "selectors",
        "smtplib",
        "socket",
        "socketserver",
        "ssl",
        "telnetlib",
        "threading",
        "urllib",
        "wsgiref",
        "xmlrpc",
    ];
    /// Packages of others that do.
    const PACKAGES: [&str; 36] = [
        "aiohttp",
        "aiomysql",
        "aiopg",
        "aioredis",
        "amqp",
        "anyio",
        "asyncpg",
        "boto3",
        "botocore",
        "cassandra",
        "elasticsearch",
        "eventlet",
        "gevent",
        "grpc",
        "httpcore",
        "httplib2",
        "httpx",
        "kafka",
        "kombu",
        "ldap3",
        "MySQLdb",
        "mysql",
        "paramiko",
        "pika",
        "psycopg",
        "pymongo",
        "pymysql",
        "redis",
        "requests",
        "sqlalchemy",
        "tornado",
        "trio",
        "twisted",
        "urllib3",
        "websocket",
        "websockets",
    ];
    let first = Path::new(path).components().next()?;
    let Component::Normal(first) = first else { return None };
    let module = first.to_str()?.trim_end_matches(".py");
    if STANDARD.contains(&module) {
        return Some(Kind::Interpreter(InterpretedPython));
    }
    (PACKAGES.contains(&module) && path.contains('/')).then(|| Kind::Library(module.to_owned()))
}

/// Whether a file lies where an installation has Python's own: `lib/python3.12`, `lib64/python3.9`, `lib/python312.zip`.
fn is_of_standard_library(path: &Path) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut folders = path.components().map(|component| component.as_os_str().to_string_lossy());
    let mut is_in_lib = false;
    folders.any(|name| {
        let version = name.strip_prefix("python3").filter(|_| is_in_lib);
        is_in_lib = matches!(&*name, "lib" | "lib64");
        // Free-threaded builds have a letter behind the number.
        let minor = version.and_then(|rest| rest.strip_prefix('.')).map(|minor| minor.trim_end_matches('t'));
        minor.is_some_and(is_digits)
            || version.and_then(|rest| rest.strip_suffix(".zip")).is_some_and(is_digits)
    })
}
