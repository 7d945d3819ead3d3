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
    let is_place = |at: &usize| match names.get(*at) {
        Some(&("node_modules" | "site-packages" | "dist-packages")) => true,
        Some(&"gems") => names.get(at + 1).is_some_and(|name| is_versioned(name)),
        // What RubyGems has compiled of a gem, by machine and version: `extensions/x86_64-linux/3.1.0/puma-6.4.0`.
        Some(_) if at.checked_sub(2).and_then(|at| names.get(at)) == Some(&"extensions") => {
            names.get(at + 1).is_some_and(|name| is_versioned(name))
        }
        _ => false,
    };
    let at = (0..names.len()).rev().find(is_place)?;
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
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_rust = extension == "rs";
    let is_c = matches!(
        extension,
        "c" | "cc" | "cpp" | "cxx" | "h" | "hh" | "hpp" | "hxx" | "ipp" | "inl" | "S" | "s"
    );
    // `include/x86_64-linux-gnu/c++`
    let is_multiarch = |at: usize| names.get(at.wrapping_sub(2)) == Some(&"include");
    for (at, name) in names.iter().enumerate() {
        let next = |ahead: usize| names.get(at + ahead).copied();
        let library = |name: Option<&str>| name.map(|name| Kind::Library(name.to_owned()));
        let kind = match *name {
            // The standard library as it is built, and as rustup has its source.
            "rustc" if next(2) == Some("library") || next(1) == Some("library") => Some(Kind::Runtime),
            "rustlib" => Some(Kind::Runtime),
            "registry" if next(1) == Some("src") && next(2).is_some_and(is_index) => library(next(3)),
            "checkouts" if is_rust && at > 0 && names.get(at - 1) == Some(&"git") => {
                library(next(1).map(|name| name.rsplit_once('-').map_or(name, |(name, _)| name)))
            }
            "vendor" if is_rust || is_c => library(next(1).filter(|_| next(2).is_some())),
            // Where build tools of C and C++ put what they fetch: by convention, vcpkg, CMake, Meson, Bazel and Conan.
            "third_party" | "third-party" | "thirdparty" | "3rdparty" | "vcpkg_installed" | "subprojects"
            | "buildtrees"
                if is_c =>
            {
                library(next(1))
            }
            "external" | "externals" | "extern" | "deps" if is_c => {
                library(next(1).filter(|_| next(2).is_some()))
            }
            ".conan" if is_c && next(1) == Some("data") => library(next(2)),
            ".conan2" if is_c && next(1) == Some("p") => {
                library(next(if next(2) == Some("b") { 3 } else { 2 }))
            }
            // The standard library of Zig, and what its package manager, that of Swift, of Crystal and of D have fetched.
            "lib" | "zig" if extension == "zig" && next(1) == Some("std") => Some(Kind::Runtime),
            "zig" if extension == "zig" && next(1) == Some("p") => library(next(2)),
            ".build" if extension == "swift" && next(1) == Some("checkouts") => library(next(2)),
            "lib" if extension == "cr" && next(2) == Some("src") => library(next(1)),
            ".dub" if extension == "d" && next(1) == Some("packages") => library(next(2)),
            "_deps" if is_c => library(
                next(1).filter(|_| next(2).is_some()).map(|name| name.strip_suffix("-src").unwrap_or(name)),
            ),
            "c++" if names.get(at.wrapping_sub(1)) == Some(&"include") || is_multiarch(at) => {
                Some(Kind::Runtime)
            }
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

/// Rates a source file of machine code, by where distributions put sources of libraries: headers, and what is compiled into
/// the programs that use it. `None` elsewhere.
pub(super) fn installed_source(path: &Path) -> Option<Kind> {
    const PLACES: [&str; 5] =
        ["/usr/include", "/usr/local/include", "/usr/lib", "/usr/local/lib", "/usr/share"];
    let place = PLACES.iter().find_map(|place| path.strip_prefix(place).ok())?;
    let names = names(place);
    let name = names.iter().find(|name| !name.contains("-linux-"))?;
    Some(Kind::Library((*name).to_owned()))
}

/// `rack-3.0.8`.
pub(super) fn is_versioned(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(_, version)| version.starts_with(|first: char| first.is_ascii_digit()))
}

/// `index.crates.io-1949cf8c6b5b557f`.
fn is_index(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(_, hash)| hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
