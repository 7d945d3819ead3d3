//! Which crates a program of Rust was built from that are not its own, by the places in their sources that it names when it
//! panics: `/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/redis-0.27.6/src/connection.rs`. Every build has these, also
//! without line tables. Rates no function.

use std::{collections::BTreeSet, path::Path};

use super::{elf::Elf, sources::is_versioned};

/// Most crates of one program, and the longest name.
const MOST_CRATES: usize = 2_048;
const MOST_BYTES: usize = 64;

/// The names of the crates that a file at this path has of others, as code writes them. One that is called as the file is the
/// program itself, which was installed from a registry.
pub(super) fn of_others(elf: &Elf<'_>, path: &Path) -> Vec<Box<str>> {
    let mut crates = elf.data(".rodata").map(named).unwrap_or_default();
    let program = path.file_name().map(|name| name.to_string_lossy().replace('-', "_"));
    crates.retain(|name| program.as_deref() != Some(&**name));
    crates
}

fn named(texts: &[u8]) -> Vec<Box<str>> {
    let (mut crates, mut programs) = (BTreeSet::new(), BTreeSet::new());
    // Texts follow each other: the last part of a path has the beginning of another text behind it.
    let mut parts = texts.split(|byte| *byte == b'/');
    while let Some(part) = parts.next() {
        let mut ahead = parts.clone();
        let Some(name) = brought(part, &mut ahead) else { continue };
        let is_program = ahead.next().is_some_and(|folder| folder == b"src")
            && ahead.next().is_some_and(|file| file == b"bin" || file.starts_with(b"main.rs"));
        // What was installed as a program is its own, wherever its source came from.
        if is_program {
            programs.insert(name);
        } else if crates.len() < MOST_CRATES {
            crates.insert(name);
        }
    }
    crates.difference(&programs).map(|name| name.clone().into_boxed_str()).collect()
}

/// The crate whose folder follows a part of a path, where cargo puts crates of others; `ahead` is then behind that folder.
fn brought<'a>(part: &[u8], ahead: &mut (impl Iterator<Item = &'a [u8]> + Clone)) -> Option<String> {
    let folder = match part {
        b"registry" => match ahead.next()? {
            // Distributions leave out the folder that stands for the index.
            b"src" => ahead.nth(1)?,
            folder => folder,
        },
        b"vendor" => {
            let folder = ahead.next()?;
            return name(folder).filter(|_| ahead.clone().next() == Some(b"src"));
        }
        _ => return None,
    };
    let (package, _) =
        std::str::from_utf8(folder).ok().filter(|folder| is_versioned(folder))?.rsplit_once('-')?;
    name(package.as_bytes())
}

/// A crate as code writes it: `hyper_util` of `hyper-util`.
fn name(package: &[u8]) -> Option<String> {
    let package = std::str::from_utf8(package).ok().filter(|package| package.len() <= MOST_BYTES)?;
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    package.chars().all(is_name).then(|| package.replace('-', "_"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs::File;

    use proptest::prelude::*;

    use super::*;
    use crate::stacks::elf::BoundedFile;

    fn names(texts: &str) -> Vec<String> {
        named(texts.as_bytes()).into_iter().map(String::from).collect()
    }

    #[test]
    fn places_in_sources_tell_the_crates_of_others() {
        const REGISTRY: &str = "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
        let texts = format!(
            "src/main.rs{REGISTRY}/redis-0.27.6/src/connection.rsno{REGISTRY}/async-io-2.6.0/src/lib.rs\0\
             ledger-core/src/lib.rs/usr/share/cargo/registry/minreq-2.14.1/src/x.rs/build/vendor/tiny_http/src/lib.rs\
             /rustc/59807616e1fa/library/std/src/net/tcp.rs{REGISTRY}/redis-0.27.6/src/client.rs"
        );
        assert_eq!(names(&texts), ["async_io", "minreq", "redis", "tiny_http"]);
    }

    #[test]
    fn a_program_that_was_installed_from_a_registry_is_its_own() {
        let texts = "/r/registry/src/i-0123456789abcdef/shop-1.0.0/src/main.rs/r/registry/src/i-0123456789abcdef/shop-1.0.0/src/ledger.rs\
                     /r/registry/src/i-0123456789abcdef/redis-0.27.6/src/lib.rs";
        assert_eq!(names(texts), ["redis"]);
    }

    #[test]
    fn a_crate_that_is_called_as_the_program_is_its_own() {
        let file = BoundedFile::new(File::open("/proc/self/exe").unwrap());
        let elf = Elf::read(&file).unwrap();
        let has =
            |path: &str, name: &str| of_others(&elf, Path::new(path)).iter().any(|known| **known == *name);
        assert!(has("/srv/shop", "proptest") && !has("/root/.cargo/bin/proptest", "proptest"));
    }

    #[test]
    fn what_only_looks_alike_names_no_crate() {
        for texts in [
            "registry/src/main.rs",
            "/schema-registry/src/a/b-1.0/src/x.rs",
            "/vendor/main.rs",
            "registry",
            "",
            "//",
        ] {
            assert_eq!(names(texts), Vec::<String>::new(), "{texts}");
        }
    }

    proptest! {
        #[test]
        fn any_texts_name_some(texts: Vec<u8>, parts in proptest::collection::vec("registry|src|vendor|a-1|é|", 0..40)) {
            named(&texts);
            named(parts.join("/").as_bytes());
        }
    }
}
