//! A file with machine code, as far as that tells whose code it is: where it lies for its process, which interpreter it is,
//! and whether code of Rust is in it. Names no function.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{crates, elf::Elf, interpreters};
use crate::model::no_site::NoSiteBecause;

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Binary {
    /// Where it lies, as its process sees it.
    pub(super) path: PathBuf,
    pub(super) traits: Traits,
}

/// What its contents tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// The interpreter that it is, or a part of.
    pub(super) interpreter: Option<NoSiteBecause>,
    /// Whether it has code of Rust.
    pub(super) has_rust: bool,
    /// The crates of others in that, as far as they are known.
    pub(super) crates: Arc<[Box<str>]>,
}

impl Traits {
    /// Those of a file of this name. A name alone is no proof: anybody may call a program `node`, or Node.js otherwise.
    pub(super) fn of(path: &Path, elf: &Elf<'_>) -> Self {
        let is_it = |language: &NoSiteBecause| {
            let beginnings = interpreters::functions_of(*language);
            beginnings.is_empty() || elf.mentions(beginnings).unwrap_or(true)
        };
        let interpreter = interpreters::by_name(path).filter(is_it).or_else(|| interpreters::by_exports(elf));
        let has_rust = has_rust(elf);
        let crates = if has_rust { crates::of_others(elf, path).into() } else { Arc::default() };
        Self { interpreter, has_rust, crates }
    }
}

impl Binary {
    /// A file that cannot be read, by its name.
    pub(super) fn unread(path: PathBuf) -> Self {
        let traits = Traits { interpreter: interpreters::by_name(&path), ..Traits::default() };
        Self { path, traits }
    }

    /// Whether it has the name of a library that others link with: `libevent-2.1.so.7`. Plugins have no version.
    pub(super) fn is_versioned_library(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let version = name.strip_prefix("lib").and_then(|rest| rest.split_once(".so."));
        version.is_some_and(|(_, version)| version.starts_with(|first: char| first.is_ascii_digit()))
    }
}

/// Whether rustc made a part of it, which says so since Rust 1.73, or its names do.
fn has_rust(elf: &Elf<'_>) -> bool {
    let has = |section: &str, text: &[u8]| {
        elf.data(section).is_some_and(|data| data.split(|byte| *byte == 0).any(|one| one.starts_with(text)))
    };
    has(".comment", b"rustc version")
        || has(".strtab", b"rust_eh_personality")
        || has(".dynstr", b"rust_eh_personality")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::stacks::elf::BoundedFile;

    fn traits(name: &str, file: &str) -> Traits {
        let file = BoundedFile::new(File::open(file).unwrap());
        Traits::of(Path::new(name), &Elf::read(&file).unwrap())
    }

    #[test]
    fn a_program_is_no_interpreter_for_its_name_alone() {
        for name in ["/srv/node", "/srv/beam", "/srv/mono", "/srv/lib/libnet.so", "/usr/bin/python3"] {
            assert!(interpreters::by_name(Path::new(name)).is_some(), "{name}");
            assert_eq!(traits(name, "/proc/self/exe").interpreter, None, "{name}");
        }
    }

    #[test]
    fn a_library_that_others_link_with_has_a_version() {
        let is = |path: &str| Binary::unread(path.into()).is_versioned_library();
        assert!(is("/srv/shop/lib/libevent-2.1.so.7") && is("libuv.so.1.0.0"));
        assert!(!is("/srv/shop/plugin.so") && !is("/srv/shop/libledger.so") && !is("/srv/shop"));
    }

    #[test]
    fn what_rustc_made_is_known() {
        assert!(traits("shop", "/proc/self/exe").has_rust);
        let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = libc.split_ascii_whitespace().find(|word| word.ends_with("/libc.so.6")).unwrap();
        assert!(!traits("libc.so.6", libc).has_rust);
    }
}
