//! What Go writes into a program of how it was built (`go version -m`, src/debug/buildinfo): the path of its main module, or
//! of its main package.

use super::{
    bytes::{Bytes, Stream},
    line::Part,
    package::{is_within, package},
};

/// Most bytes read: a line for each module that it is made of.
const MAX_BYTES: usize = 256 * 1024;
/// Longest path of a module.
const MAX_PATH: usize = 512;
/// Bytes before the first line, by which the loader finds the text.
const MARK: usize = 16;
/// Texts follow; before Go 1.18 pointers to them did.
const HAS_TEXTS: u8 = 2;

/// What a program is built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Main {
    /// The path of its main module. Other modules may be the program's own: parts of a workspace, and what is replaced by a
    /// folder.
    Module(String),
    /// Without modules, as distributions build: the path of the project that the main package is in. All others are
    /// libraries.
    Project(String),
}

impl Main {
    /// What part of the program a function is of.
    pub(super) fn part(&self, function: &str) -> Part {
        match self {
            Self::Module(path) | Self::Project(path) if is_within(function, path) => Part::Main,
            Self::Project(_) if package(function).is_some_and(|package| has_host(&package)) => Part::Other,
            Self::Module(_) | Self::Project(_) => Part::NotKnown,
        }
    }
}

/// Whether a path begins with the name of a host, as all but those of the standard library should.
fn has_host(path: &str) -> bool {
    path.split('/').next().is_some_and(|first| first.contains('.'))
}

/// The project that a package is in: `github.com/acme/shop` of `github.com/acme/shop/cmd/shop`. Hosts of many projects have
/// them by their owners.
fn project(package: &str) -> Option<String> {
    const SHARED: [&str; 6] =
        ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "golang.org", "salsa.debian.org"];
    let host = package.split('/').next().filter(|_| has_host(package))?;
    let parts = if SHARED.contains(&host) { 3 } else { 2 };
    Some(package.split('/').take(parts).collect::<Vec<_>>().join("/"))
}

/// What a program is built from, by its `.go.buildinfo` section; `None` where that does not say.
pub(super) fn main_of<B: Bytes + ?Sized>(file: &B, at: u64) -> Option<Main> {
    let start = file.read::<16>(at)?;
    if !start.starts_with(b"\xff Go buildinf:") || start[15] & HAS_TEXTS == 0 {
        return None;
    }
    let mut bytes = Stream::new(file, at.checked_add(32)?, MAX_BYTES);
    let version = length(&mut bytes)?;
    bytes.nth(version.checked_sub(1)?)?;
    let length = length(&mut bytes)?.checked_sub(MARK)?;
    bytes.nth(MARK - 1)?;
    let mut lines = Lines(bytes.take(length));
    // The path of the main package comes first, then that of the main module, then its dependencies.
    let head: Vec<String> = lines.by_ref().take(4).collect();
    let field = |name: &str| {
        let line = head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'))?;
        line.split('\t').next().filter(|path| !path.is_empty())
    };
    match (field("mod"), field("path")) {
        (Some(module), _) => Some(Main::Module(module.to_owned())),
        // `dep` without `mod`: a test, or a package of a module that is none of the program's.
        (None, Some(package)) if field("dep").is_none() => project(package).map(Main::Project),
        (None, _) => None,
    }
}

/// Seven bits a byte, the lowest first.
fn length(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut length = 0;
    for shift in (0..28).step_by(7) {
        let byte = bytes.next()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// The beginnings of lines.
struct Lines<I>(I);

impl<I: Iterator<Item = u8>> Iterator for Lines<I> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        for byte in self.0.by_ref().take_while(|byte| *byte != b'\n') {
            if line.len() < MAX_PATH {
                line.push(byte);
            }
        }
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(version: &str, modules: &str) -> Vec<u8> {
        let mut bytes = b"\xff Go buildinf:\x08\x02".to_vec();
        bytes.resize(32, 0);
        bytes.push(version.len().to_le_bytes()[0]);
        bytes.extend(version.as_bytes());
        let length = modules.len() + 32;
        bytes.extend([length.to_le_bytes()[0] | 0x80, (length >> 7).to_le_bytes()[0]]);
        bytes.extend([0x30; 16].iter().chain(modules.as_bytes()).chain(&[0xf9; 16]));
        bytes
    }

    #[test]
    fn the_main_module_is_that_of_the_line_which_says_so() {
        let modules = "path\tshop/cmd/shop\nmod\tshop\t(devel)\t\ndep\tgithub.com/lib/pq\tv1.10.0\th1:x\n";
        let bytes = built("go1.27.3", modules);
        assert_eq!(main_of(&*bytes, 0), Some(Main::Module("shop".to_owned())));
        assert_eq!(main_of(&*built("go1.27.3", "path\tcommand-line-arguments\n"), 0), None);
        for end in 0..bytes.len() {
            let _cut = main_of(&bytes[..end], 0);
        }
        assert_eq!(main_of(&*vec![0xff; 4096], 0), None);
    }

    #[test]
    fn without_modules_the_main_package_tells_the_project() {
        for (package, expected) in [
            ("github.com/acme/shop/cmd/shop", Some("github.com/acme/shop")),
            ("github.com/acme/shop", Some("github.com/acme/shop")),
            ("k8s.io/kubernetes/cmd/kubelet", Some("k8s.io/kubernetes")),
            ("example.com", Some("example.com")),
            ("command-line-arguments", None),
            ("cmd/shop", None),
            ("", None),
        ] {
            let built = built("go1.19.8", &format!("path\t{package}\nbuild\t-compiler=gc\n"));
            let expected = expected.map(|path| Main::Project(path.to_owned()));
            assert_eq!(main_of(&*built, 0), expected, "{package}");
        }
        let of_module = built("go1.19.8", "path\tgithub.com/acme/x\ndep\tgithub.com/lib/pq\tv1.0.0\n");
        assert_eq!(main_of(&*of_module, 0), None);
    }

    #[test]
    fn whatever_is_outside_of_the_project_is_another_s() {
        let project = Main::Project("github.com/acme/shop".to_owned());
        let module = Main::Module("github.com/acme/shop".to_owned());
        for (function, by_project, by_module) in [
            ("github.com/acme/shop/refunds.Handle", Part::Main, Part::Main),
            ("github.com/acme/ledger.Open", Part::Other, Part::NotKnown),
            ("github.com/lib/pq.Open", Part::Other, Part::NotKnown),
            ("net/http.(*Transport).dialConn", Part::NotKnown, Part::NotKnown),
            ("main.main", Part::NotKnown, Part::NotKnown),
            ("_rt0_amd64_linux", Part::NotKnown, Part::NotKnown),
        ] {
            assert_eq!(
                (project.part(function), module.part(function)),
                (by_project, by_module),
                "{function}"
            );
        }
    }
}
