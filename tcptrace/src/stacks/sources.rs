//! Whose code a source file is, by where compilers and package managers put files. Pure.

use std::path::{Component, Path};

use super::kind::Kind;

fn names(path: &Path) -> Vec<&str> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_str().unwrap_or("?")),
            _ => None,
        })
        .collect()
}

/// The package that a file belongs to, where package managers of languages put packages.
pub(super) fn package_of(path: &Path) -> Option<String> {
    let names = names(path);
    // The innermost of several: a package has packages of its own.
    let at = names
        .iter()
        .rposition(|name| matches!(*name, "node_modules" | "site-packages" | "dist-packages" | "gems"))?;
    let mut package = (*names.get(at + 1)?).to_owned();
    if let Some(scoped) = names.get(at + 2).filter(|_| package.starts_with('@')) {
        package = format!("{package}/{scoped}");
    }
    Some(package)
}

/// Rates a source file; `None` where it tells nothing.
pub(super) fn of_source(path: &Path) -> Option<Kind> {
    let names = names(path);
    // What cgo makes around a function of C.
    if path.ends_with("cgo-gcc-prolog") {
        return Some(Kind::Runtime);
    }
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    for (at, name) in names.iter().enumerate() {
        let next = |ahead: usize| names.get(at + ahead).copied();
        let library = |name: Option<&str>| name.map(|name| Kind::Library(name.to_owned()));
        let kind = match *name {
            // The standard library as it is built, and as rustup has its source.
            "rustc" if next(2) == Some("library") || next(1) == Some("library") => Some(Kind::Runtime),
            "rustlib" => Some(Kind::Runtime),
            "registry" if next(1) == Some("src") && next(2).is_some_and(is_index) => library(next(3)),
            "checkouts" if at > 0 && names.get(at - 1) == Some(&"git") => {
                library(next(1).map(|name| name.rsplit_once('-').map_or(name, |(name, _)| name)))
            }
            "vendor" if is_rust => library(next(1).filter(|_| next(2).is_some())),
            "include" if next(1) == Some("c++") => Some(Kind::Runtime),
            "include" if at > 0 && path.starts_with("/usr") && next(2).is_some() => library(next(1)),
            // glibc, linked statically.
            "sysdeps" | "nptl" | "csu" if names.first() == Some(name) || path.starts_with("..") => {
                Some(Kind::Runtime)
            }
            _ => None,
        };
        if kind.is_some() {
            return kind;
        }
    }
    package_of(path).map(Kind::Library)
}

/// `index.crates.io-1949cf8c6b5b557f`.
fn is_index(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(_, hash)| hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
