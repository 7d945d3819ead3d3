//! The names that compilers give to functions: those of their languages' own libraries, where a program has these in itself,
//! of OCaml, D, Ada, Pascal, Nim, Haskell and Crystal; and what the languages themselves call a function. Pure.

use super::kind::Kind;

/// Rates a name; `None` where it is none of these.
pub(super) fn of_name(name: &str) -> Option<Kind> {
    /// How names of the runtimes begin.
    const RUNTIMES: [&str; 13] = [
        // OCaml
        "caml_",
        "camlStdlib",
        "camlCamlinternal",
        // D
        "_D3std",
        "_D4core",
        "_D2rt",
        // Ada
        "gnat__",
        "system__",
        "ada__",
        // Haskell
        "stg_",
        "base_GHC",
        "ghczmprim",
        "ghczminternal",
    ];
    /// Pascal writes the unit before `_$$_`, with a class between: `SSOCKETS$_$TINETSOCKET_$__$$_CONNECT`.
    const UNITS: [&str; 6] = ["SYSTEM", "SOCKETS", "SSOCKETS", "BASEUNIX", "UNIX", "SYSCALL"];
    /// Libraries of OCaml and of D that open sockets, and how their names begin.
    const LIBRARIES: [(&str, &str); 12] = [
        ("camlUnix", "Unix"),
        ("camlLwt", "Lwt"),
        ("camlCohttp", "Cohttp"),
        ("camlConduit", "Conduit"),
        ("camlEio", "Eio"),
        ("camlAsync_", "Async"),
        ("camlSsl", "Ssl"),
        ("camlTls", "Tls"),
        ("camlCaqti", "Caqti"),
        ("camlPgx", "Pgx"),
        ("_D4vibe", "vibe"),
        ("_D9eventcore", "eventcore"),
    ];
    let runtime = RUNTIMES.iter().any(|beginning| name.starts_with(beginning))
        || pascal(name).is_some_and(|(unit, _, _)| UNITS.contains(&unit));
    if runtime {
        return Some(Kind::Runtime);
    }
    // What Cython and mypyc add; functions of people begin otherwise.
    let is_of_mypyc =
        name.starts_with("CPy") && !OF_MYPYC.iter().any(|beginning| name.starts_with(beginning));
    if is_of_mypyc || name.starts_with("__Pyx_") {
        return Some(Kind::Runtime);
    }
    if let Some((_, library)) = LIBRARIES.iter().find(|(beginning, _)| name.starts_with(beginning)) {
        return Some(Kind::Library((*library).to_owned()));
    }
    // Nim's libraries, of which the path stands behind the name: `connect__pureZnet_1143`; and where a program begins.
    if name.starts_with("NimMain")
        || name.contains("__pureZ")
        || name.contains("__systemZ")
        || name.contains("__posixZ")
    {
        return Some(Kind::Library("nim".to_owned()));
    }
    if is_of_crystal(name) {
        return Some(Kind::Library("crystal".to_owned()));
    }
    // Haskell's packages have their version in the name, with `z` before what is no letter:
    // `networkzm3zi1zi2zi7zm…_NetworkziSocket_connect1_info`.
    let is_closure = ["_info", "_entry", "_ret", "_slow"].iter().any(|end| name.ends_with(end));
    let (package, _) = name.split_once("zm").filter(|_| is_closure)?;
    let is_version = name.get(package.len() + 2..)?.starts_with(|first: char| first.is_ascii_digit());
    is_version.then(|| Kind::Library(package.to_owned()))
}

/// How mypyc begins the names of functions, and of what the interpreter calls for them.
const OF_MYPYC: [&str; 2] = ["CPyDef_", "CPyPy_"];

/// Whether Crystal's standard library has a function, whose names begin with a star: `*TCPSocket::new<String, Int32>:TCPSocket`,
/// `*HTTP::Client#exec…`; or a program begins there, with what is outside of functions in it.
fn is_of_crystal(name: &str) -> bool {
    const CLASSES: [&str; 10] = [
        "Crystal",
        "Fiber",
        "HTTP",
        "IO",
        "OpenSSL",
        "Socket",
        "TCPServer",
        "TCPSocket",
        "Thread",
        "UNIXSocket",
    ];
    let class = name.strip_prefix('*').and_then(|path| path.split([':', '#', '<', '+', '@']).next());
    class.is_some_and(|class| CLASSES.contains(&class)) || name == "__crystal_main"
}

/// A function as its language calls it, where a compiler wrote that in letters of C.
pub(super) fn readable(name: &str) -> Option<String> {
    compiled_python(name).or_else(|| of_d(name)).or_else(|| of_ocaml(name)).or_else(|| {
        let (unit, class, function) = pascal(name)?;
        Some([Some(unit), class, Some(function)].into_iter().flatten().collect::<Vec<_>>().join("."))
    })
}

/// A function of D: `shop.Ledger.open` of `_D4shop6Ledger4openMFiZv`. `None` of templates.
fn of_d(name: &str) -> Option<String> {
    let (mut rest, mut parts) = (name.strip_prefix("_D")?, Vec::new());
    while let Some((part, behind)) = counted(rest) {
        parts.push(part);
        rest = behind;
    }
    // The type of a function, or of a method (https://dlang.org/spec/abi.html#name_mangling).
    let is_function = rest.starts_with(['F', 'U', 'W', 'V', 'R', 'Y', 'M']);
    (is_function && parts.len() > 1).then(|| parts.join("."))
}

/// A function of OCaml: `Shop.Ledger.dial` of `camlShop__Ledger__dial_81`; since 5.1 a dot stands before the function.
fn of_ocaml(name: &str) -> Option<String> {
    let path = name
        .strip_prefix("caml")
        .filter(|path| path.starts_with(|first: char| first.is_ascii_uppercase()))?;
    let numbered = path.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let path = numbered.strip_suffix('_').filter(|plain| !plain.ends_with("fun")).unwrap_or(path);
    (path.contains("__") || path.contains('.')).then(|| path.replace("__", "."))
}

/// The unit, the class and the name of a function of Pascal: of `LEDGER_$$_DIAL$WORD$$LONGINT`, or of
/// `P$SHOP_$$_DIAL` in a program.
fn pascal(name: &str) -> Option<(&str, Option<&str>, &str)> {
    let (place, function) = name.rsplit_once("_$$_")?;
    let function = function.split('$').next().filter(|function| !function.is_empty())?;
    let place = place.strip_prefix("P$").unwrap_or(place);
    Some(match place.split_once("$_$") {
        Some((unit, class)) => (unit, Some(class.trim_end_matches(['_', '$'])), function),
        None => (place, None, function),
    })
}

/// A function of Python that was compiled to C, as Python calls it: `shop.Ledger.open` of `__pyx_pf_4shop_6Ledger_2open`.
fn compiled_python(name: &str) -> Option<String> {
    if let Some(function) = OF_MYPYC.iter().find_map(|beginning| name.strip_prefix(beginning)) {
        return Some(if function == "__top_level__" { "<module>" } else { function }.to_owned());
    }
    if let Some(module) = name.strip_prefix("__pyx_pymod_exec_") {
        return Some(format!("{module}.<module>"));
    }
    // The function, what the interpreter calls for it, and `cdef` functions; modules and classes have their length before them.
    let (rest, is_numbered) = match name.strip_prefix("__pyx_f_") {
        Some(rest) => (rest, false),
        None => (name.strip_prefix("__pyx_pf_").or_else(|| name.strip_prefix("__pyx_pw_"))?, true),
    };
    let (mut rest, mut parts) = (rest, Vec::new());
    while let Some((part, behind)) =
        counted(rest).and_then(|(part, rest)| Some((part, rest.strip_prefix('_')?)))
    {
        parts.push(part);
        rest = behind;
    }
    // Functions of one module are numbered, but the first.
    let function =
        if is_numbered { rest.trim_start_matches(|digit: char| digit.is_ascii_digit()) } else { rest };
    parts.push(function);
    (parts.len() > 1 && !function.is_empty()).then(|| parts.join("."))
}

/// A part of a name that has its length before it, and what follows.
fn counted(name: &str) -> Option<(&str, &str)> {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let length: usize = name.get(..digits)?.parse().ok()?;
    let end = digits.checked_add(length)?;
    Some((name.get(digits..end).filter(|part| !part.is_empty())?, name.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_languages_are_known_by_how_they_write_names() {
        let library = |name: &str| Some(Kind::Library(name.to_owned()));
        for (name, expected) in [
            ("caml_c_call", Some(Kind::Runtime)),
            ("camlUnix__connect_1320", library("Unix")),
            ("camlLwt_unix__connect_5021", library("Lwt")),
            ("camlShop__dial_81", None),
            ("_D4vibe4core3net10connectTCPFAyatZ", library("vibe")),
            ("_D3std6socket6Socket7connectMFNeC3std6socket7AddressZv", Some(Kind::Runtime)),
            ("_D4shop4dialFZv", None),
            ("gnat__sockets__connect_socket", Some(Kind::Runtime)),
            ("shop__dial", None),
            ("SYSTEM_$$_FPSYSCALL$INT64$$INT64", Some(Kind::Runtime)),
            ("SSOCKETS$_$TINETSOCKET_$__$$_CONNECT", Some(Kind::Runtime)),
            ("P$SHOP_$$_DIAL", None),
            ("NimMainInner", library("nim")),
            ("connect__pureZnet_1143", library("nim")),
            ("dial__n_3", None),
            ("*TCPSocket::new<String, Int32>:TCPSocket", library("crystal")),
            ("*HTTP::Client#exec<String>:HTTP::Client::Response", library("crystal")),
            ("*Crystal::main<Int32, Pointer(Pointer(UInt8))>:Int32", library("crystal")),
            ("*Shop#charge<Int32>:Array(TCPSocket)", None),
            ("*open_ledger<Int32>:Array(TCPSocket)", None),
            ("~procProc(Nil)@shop.cr:12", None),
            ("networkzm3zi1zi2zi7zmDrB_NetworkziSocket_connect1_info", library("network")),
            ("Main_dial_info", None),
            ("zm1_info", library("")),
            ("zm", None),
            ("__Pyx_PyObject_FastCallDict", Some(Kind::Runtime)),
            ("CPyObject_GetAttr", Some(Kind::Runtime)),
            ("CPyDef_open_ledger", None),
            ("__pyx_pf_4shop_open_ledger", None),
            ("", None),
        ] {
            assert_eq!(of_name(name), expected, "{name}");
        }
    }

    #[test]
    fn a_function_is_called_as_its_language_calls_it() {
        for (name, expected) in [
            ("__pyx_pw_6cyshop_1open_cython", Some("cyshop.open_cython")),
            ("__pyx_pf_6cyshop_open_cython", Some("cyshop.open_cython")),
            ("__pyx_pf_4shop_6ledger_6Client_2dial", Some("shop.ledger.Client.dial")),
            ("__pyx_f_6cyshop_inner", Some("cyshop.inner")),
            ("__pyx_f_6cyshop_6Client_2nd", Some("cyshop.Client.2nd")),
            ("__pyx_pymod_exec_cyshop", Some("cyshop.<module>")),
            ("CPyDef_open_ledger", Some("open_ledger")),
            ("CPyPy_Ledger___open", Some("Ledger___open")),
            ("CPyDef___top_level__", Some("<module>")),
            ("_D4shop6Ledger4openMFtZv", Some("shop.Ledger.open")),
            ("_D4shop4dialFZv", Some("shop.dial")),
            (
                "_D3std6socket9TcpSocket6__ctorMFNfCQBhQBg7AddressZCQBxQBwQBs",
                Some("std.socket.TcpSocket.__ctor"),
            ),
            ("_D4shop__T4dialTiZQkFiZv", None),
            ("_D4shop", None),
            ("_Dmain", None),
            ("camlShop__dial_81", Some("Shop.dial")),
            ("camlShop__Ledger__fun_81", Some("Shop.Ledger.fun_81")),
            ("camlShop.dial_81", Some("Shop.dial")),
            ("camlShop__entry", Some("Shop.entry")),
            ("caml_c_call", None),
            ("P$SHOP_$$_DIAL$WORD", Some("SHOP.DIAL")),
            ("LEDGER_$$_DIAL$WORD$$LONGINT", Some("LEDGER.DIAL")),
            ("SSOCKETS$_$TINETSOCKET_$__$$_CONNECT", Some("SSOCKETS.TINETSOCKET.CONNECT")),
            ("_$$_", None),
            ("__pyx_pf_open", None),
            ("__pyx_pf_99999999999999999999shop_open", None),
            ("__pyx_pf_9shop_open", None),
            ("__pyx_pw_", None),
            ("open_ledger", None),
            ("", None),
        ] {
            assert_eq!(readable(name).as_deref(), expected, "{name}");
        }
    }
}
