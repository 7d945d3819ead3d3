//! Renders a line of a stack, and says whose code it is. Pure.

use std::path::{Path, PathBuf};

use blazesym::symbolize::{CodeInfo, Sym};

use super::{
    binary::Binary,
    function_name::{bounded, plain},
    go::{
        line::{Line, Part},
        package,
    },
    inlined, interpreters, java,
    kind::Kind,
    modules::Place,
    names_of_languages::readable,
    point::{ScriptLanguage, ScriptLine},
    rating::{Code, of_module, rate},
};
use crate::model::found_by::{CallersBy, NamedBy};

/// Where the code of a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From the program, which may have libraries in it, or from a library that others link with.
    Linked,
    /// From another file.
    File,
    /// It was made at run time, or is nowhere.
    RunTime,
}

/// One line of a stack.
#[expect(clippy::struct_excessive_bools, reason = "facts are independent of each other")]
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) text: String,
    pub(super) kind: Kind,
    /// Its function has a name.
    pub(super) is_named: bool,
    pub(super) origin: Origin,
    pub(super) is_outermost: bool,
    /// It is of a library that runs what others hand it, and may have that in itself: nothing tells the lines.
    pub(super) runs_closures: bool,
    /// The machine that told it, which knows its callers.
    pub(super) told_by: Option<ScriptLanguage>,
    /// It was told, and has no file of its own: a library may have made it, or the application had it evaluated.
    pub(super) is_made: bool,
    /// The build of the file, of code without a name.
    pub(super) build_id: Option<String>,
    /// What led to it from the frame before; `None` of the call itself.
    pub(super) reached_by: Option<CallersBy>,
    pub(super) named_by: Option<NamedBy>,
}

impl Frame {
    /// The name of its function, as far as it is shown.
    pub(super) fn function(&self) -> &str {
        self.text.rsplit_once(" (").map_or(&*self.text, |(function, _)| function)
    }

    /// Whether it is machine code of a file.
    pub(super) fn is_of_file(&self) -> bool {
        self.origin != Origin::RunTime
    }
}

/// The frames of one address, innermost first: the functions inlined there, then the function itself. `program` is what
/// the process runs, `module` the file with the code.
pub(super) fn named<'a>(
    symbol: &'a Sym<'a>,
    module: Option<&'a Binary>,
    program: Option<&'a Binary>,
) -> impl Iterator<Item = Frame> + 'a {
    let inlined = symbol
        .inlined
        .iter()
        .rev()
        .map(move |inlined| frame(&inlined.name, inlined.code_info.as_ref(), module, program));
    inlined.chain(std::iter::once(frame(&symbol.name, symbol.code_info.as_deref(), module, program)))
}

/// The line of a function of a file; its source position may be unknown.
fn frame(
    name: &str,
    code: Option<&CodeInfo<'_>>,
    module: Option<&Binary>,
    program: Option<&Binary>,
) -> Frame {
    let source: Option<PathBuf> = code.map(|code| code.to_path().into_owned());
    let mut name = plain(name);
    let of_name = |name: &str| rate(Code { function: name, source: None, module, program });
    // What a library's file has inlined is the library's.
    let is_of_library = module.is_some_and(|module| of_module(module, program).is_some());
    let runs_closures = source.is_none()
        && !is_of_library
        && inlined::runs_closures(name)
        && matches!(of_name(name), Kind::Runtime | Kind::Library(_));
    if runs_closures {
        name = inlined::closure(name, |closure| of_name(closure) == Kind::Own).unwrap_or(name);
    }
    let readable = readable(name);
    let shown = bounded(readable.as_deref().unwrap_or(name));
    let text = match (&source, module.and_then(|module| module.path.file_name())) {
        (Some(source), _) => match code.and_then(|code| code.line) {
            Some(line) => format!("{shown} ({}:{line})", file_name(source)),
            None => format!("{shown} ({})", file_name(source)),
        },
        (None, Some(module)) => format!("{shown} ({})", module.to_string_lossy()),
        (None, None) => shown.into_owned(),
    };
    let may_be_linked = |module: &Binary| {
        program.is_some_and(|program| program.path == module.path) || module.is_versioned_library()
    };
    let kind = match &source {
        // Its line table was not read, as of a PIE of Go before 1.18, or it has none, as of gccgo.
        Some(source) if !is_of_library && source.extension().is_some_and(|extension| extension == "go") => {
            let line = code.and_then(|code| code.line).unwrap_or_default();
            let place = Some((source.to_string_lossy().into_owned(), line));
            package::kind(&Line { function: name.to_owned(), place, part: Part::NotKnown })
        }
        source => rate(Code { function: name, source: source.as_deref(), module, program }),
    };
    Frame {
        text,
        kind,
        is_named: true,
        origin: if module.is_some_and(may_be_linked) { Origin::Linked } else { Origin::File },
        is_outermost: is_outermost(name),
        runs_closures,
        told_by: None,
        is_made: false,
        build_id: None,
        reached_by: None,
        named_by: Some(if source.is_some() { NamedBy::LineTable } else { NamedBy::Symbols }),
    }
}

/// A line of a Go program.
pub(super) fn of_go(line: &Line) -> Frame {
    let shown = bounded(&line.function);
    let text = match &line.place {
        Some((path, line)) => format!("{shown} ({}:{line})", path.rsplit('/').next().unwrap_or(path)),
        None => shown.into_owned(),
    };
    Frame {
        text,
        kind: package::kind(line),
        is_named: true,
        origin: Origin::File,
        is_outermost: is_outermost(&line.function),
        runs_closures: false,
        told_by: None,
        is_made: false,
        build_id: None,
        reached_by: None,
        named_by: Some(NamedBy::GoLineTable),
    }
}

/// A line that a virtual machine told. `program` is the package that it was started to run, where it is one.
pub(super) fn of_script(line: &ScriptLine, program: Option<&str>) -> Frame {
    let shown = bounded(&line.function);
    // Of a library without source files, there is just the archive.
    let file = line.file.as_deref().map(|path| path.strip_suffix(java::WITHIN).unwrap_or(path));
    let text = match (file.map(|path| file_name(Path::new(path))), line.line) {
        (Some(file), Some(line)) => format!("{shown} ({file}:{line})"),
        (Some(file), None) => format!("{shown} ({file})"),
        (None, _) => shown.into_owned(),
    };
    Frame {
        text,
        kind: interpreters::of_script(line, program),
        is_named: true,
        origin: Origin::RunTime,
        is_outermost: false,
        runs_closures: false,
        told_by: Some(line.language),
        is_made: interpreters::is_made(line),
        build_id: None,
        reached_by: None,
        named_by: Some(line.language.names()),
    }
}

/// The line of a function that was made at run time.
pub(super) fn made(name: &str) -> Frame {
    Frame {
        text: bounded(name).into_owned(),
        kind: interpreters::of_made(name),
        is_named: true,
        origin: Origin::RunTime,
        is_outermost: false,
        runs_closures: false,
        told_by: None,
        is_made: false,
        build_id: None,
        reached_by: None,
        named_by: Some(NamedBy::PerfMap),
    }
}

/// The line of an address without a name: in a file, at an address that its tools know, or nowhere.
pub(super) fn unnamed(address: u64, place: Option<&Place>, program: Option<&Binary>) -> Frame {
    let (text, kind) = match place {
        Some(Place { module, address, build_id: _, exported_before }) => {
            let path = &module.path;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            let after = exported_before.as_deref().map(|name| format!(" (after {})", bounded(plain(name))));
            (
                format!("{name}+{address:#x}{}", after.unwrap_or_default()),
                of_module(module, program).unwrap_or(Kind::Own),
            )
        }
        None => (format!("{address:#x}"), Kind::Runtime),
    };
    Frame {
        text,
        kind,
        is_named: false,
        origin: if place.is_some() { Origin::File } else { Origin::RunTime },
        is_outermost: false,
        runs_closures: false,
        told_by: None,
        is_made: false,
        build_id: place.and_then(|place| place.build_id.clone()),
        reached_by: None,
        named_by: place.and_then(|place| place.exported_before.as_ref()).map(|_| NamedBy::NearestExport),
    }
}

/// The name of a source file, with the folder that tells it from others where many files have that name.
fn file_name(source: &Path) -> String {
    let name = source.file_name().unwrap_or(source.as_os_str());
    let mut shown = PathBuf::from(name);
    if ["mod.rs", "lib.rs", "main.rs"].iter().any(|common| name == *common) {
        let folder = |path: Option<&Path>| path.and_then(Path::file_name).map(PathBuf::from);
        let parent = source.parent();
        if let Some(inner) = folder(parent) {
            let is_telling = inner.as_os_str() != "src";
            shown = inner.join(shown);
            let outer = if is_telling { None } else { folder(parent.and_then(Path::parent)) };
            shown = outer.map_or(shown.clone(), |outer| outer.join(&shown));
        }
    }
    shown.to_string_lossy().into_owned()
}

/// Whether a function is the one in which a thread or the program begins.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_of_one_name_are_told_by_their_folder() {
        for (path, expected) in [
            ("/srv/shop/src/refunds.rs", "refunds.rs"),
            ("/srv/shop/src/ledger/mod.rs", "ledger/mod.rs"),
            ("/srv/shop/src/main.rs", "shop/src/main.rs"),
            ("src/lib.rs", "src/lib.rs"),
            ("main.rs", "main.rs"),
            ("connect.c", "connect.c"),
        ] {
            assert_eq!(file_name(Path::new(path)), expected);
        }
    }

    #[test]
    fn code_without_a_name_is_told_by_its_place() {
        let binary = |path: &str| Binary::unread(path.into());
        let program = binary("/srv/shop");
        let program = Some(&program);
        let at = |module: &str, address| Place {
            module: binary(module),
            address,
            build_id: None,
            exported_before: None,
        };
        let own = unnamed(0x7f00, Some(&at("/srv/shop", 0x12e8)), program);
        assert_eq!((own.text.as_str(), own.kind), ("shop+0x12e8", Kind::Own));
        let libc = unnamed(0x7f00, Some(&at("/lib/x86_64-linux-gnu/libc.so.6", 0x27)), program);
        assert_eq!((libc.text.as_str(), libc.kind), ("libc.so.6+0x27", Kind::Runtime));
        assert_eq!(unnamed(0x7f00, None, program).text, "0x7f00");
        let near =
            Place { exported_before: Some("open_ledger".to_owned()), ..at("/srv/libledger.so", 0x12e8) };
        assert_eq!(unnamed(0x7f00, Some(&near), program).text, "libledger.so+0x12e8 (after open_ledger)");
    }

    proptest! {
        #[test]
        fn any_names_and_paths_make_a_frame(name in ".*", file in ".*", module in ".*", program in ".*") {
            let file = Path::new(&file);
            let (module, program) = (&Binary::unread(module.into()), &Binary::unread(program.into()));
            let kind = rate(Code { function: &name, source: Some(file), module: Some(module), program: Some(program) });
            prop_assert_eq!(kind.clone(), kind);
            rate(Code { function: &name, ..Code::default() });
            file_name(file);
            made(&name);
            let exported_before = Some(name.clone());
            let place = Place { module: module.clone(), address: 2, build_id: None, exported_before };
            unnamed(1, Some(&place), Some(program));
            frame(&name, None, Some(module), Some(program));
        }
    }
}
