//! Finds a compiler and a linker for the kernel side, and says what to install where one is missing.
//!
//! `tcptrace/build.rs` includes this file by its path, so it uses std only. It never installs, builds or prints
//! anything.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs};

/// A `rustc` and its `cargo` that can compile for the BPF target.
pub(crate) struct Compiler {
    /// The cargo that belongs to `rustc`.
    pub cargo: PathBuf,
    /// The compiler itself rather than a rustup proxy, where the two can be distinguished.
    pub rustc: PathBuf,
    /// True when `core` has to be built from source (`-Z build-std=core`); false when it is shipped precompiled.
    pub build_std: bool,
    /// The major version of the LLVM this compiler writes bitcode with.
    pub llvm: u32,
}

/// An installed bpf-linker.
pub(crate) struct Linker {
    /// Its executable.
    pub path: PathBuf,
    /// The major version of the LLVM it was built against. `None` where cargo did not install it and the version is
    /// unknown.
    pub llvm: Option<u32>,
}

/// Why the kernel side cannot be compiled.
#[derive(Debug)]
pub(crate) enum Missing {
    /// No compiler for the BPF target.
    Compiler,
    /// No bpf-linker at all; `llvm` is what it must be built against.
    Linker { llvm: u32 },
    /// bpf-linker reads no bitcode newer than its own LLVM.
    OlderLinker { llvm: u32, has: u32 },
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler => write!(
                out,
                "no compiler for {target}. `cargo xtask run` installs one; by hand it is one of:\n  \
                 anywhere with rustup:  rustup toolchain install nightly --profile minimal --component rust-src\n  \
                 Debian, Ubuntu:        apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf\n  \
                 Fedora, RHEL:          dnf install rustup && rustup-init, then the first line\n  \
                 Arch:                  pacman -S rustup, then the first line",
                target = target(),
            ),
            Self::Linker { llvm } => {
                write!(out, "no bpf-linker in ~/.cargo/bin or PATH. {}", LinkerRemedy(*llvm))
            }
            Self::OlderLinker { llvm, has } => write!(
                out,
                "bpf-linker was built for LLVM {has}, but the compiler for {} uses LLVM {llvm}. {}",
                target(),
                LinkerRemedy(*llvm),
            ),
        }
    }
}

impl std::error::Error for Missing {}

struct LinkerRemedy(u32);

impl fmt::Display for LinkerRemedy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let llvm = self.0;
        write!(
            out,
            "`cargo xtask run` installs it; by hand:\n  \
             Debian, Ubuntu:  apt-get install g++ llvm-{llvm}-dev, then\n                   \
             LLVM_PREFIX=/usr/lib/llvm-{llvm} cargo install bpf-linker --no-default-features --features llvm-{llvm}\n  \
             Fedora, RHEL:    dnf install gcc-c++ llvm-devel, then cargo install as above, without LLVM_PREFIX\n  \
             Arch:            pacman -S llvm, then the same\n  \
             anywhere else:   cargo binstall bpf-linker",
        )
    }
}

/// The BPF target of this host's byte order.
pub(crate) fn target() -> &'static str {
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
}

/// The compiler to use, with the linker that reads its bitcode.
pub(crate) fn find() -> Result<(Compiler, Linker), Missing> {
    let mut compilers = compilers();
    let Some(first) = compilers.first() else { return Err(Missing::Compiler) };
    let llvm = first.llvm;
    let linker = linker().ok_or(Missing::Linker { llvm })?;
    match compilers.iter().position(|compiler| linker.reads(compiler)) {
        Some(position) => Ok((compilers.swap_remove(position), linker)),
        None => Err(Missing::OlderLinker { llvm, has: linker.llvm.unwrap_or_default() }),
    }
}

/// Every compiler for the BPF target on this machine, the preferred one first.
pub(crate) fn compilers() -> Vec<Compiler> {
    let nightly = nightly_with_source().map(|(cargo, rustc)| (cargo, rustc, true));
    let system = ("/usr/bin/cargo".into(), "/usr/bin/rustc".into(), false);
    let in_path = ("cargo".into(), "rustc".into(), false);
    nightly
        .into_iter()
        .chain([system, in_path])
        .filter(|(_, rustc, build_std)| *build_std || has_precompiled("libcore", rustc, target()))
        .filter_map(|(cargo, rustc, build_std)| {
            let llvm = llvm_major(&rustc)?;
            Some(Compiler { cargo, rustc, build_std, llvm })
        })
        .collect()
}

/// bpf-linker from cargo's own directory, else from PATH.
pub(crate) fn linker() -> Option<Linker> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    if let Some(cargo_home) = cargo_home {
        let path = cargo_home.join("bin/bpf-linker");
        if path.is_file() {
            let installs = fs::read_to_string(cargo_home.join(".crates2.json")).unwrap_or_default();
            return Some(Linker { path, llvm: linker_llvm(&installs) });
        }
    }
    let path = env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join("bpf-linker"))
        .find(|path| path.is_file())?;
    Some(Linker { path, llvm: None })
}

impl Linker {
    /// True unless the bitcode is known to be newer than this linker. LLVM reads older bitcode.
    pub(crate) fn reads(&self, compiler: &Compiler) -> bool {
        self.llvm.is_none_or(|llvm| llvm >= compiler.llvm)
    }
}

/// The `llvm-N` feature that cargo's record of installed programs gives for bpf-linker.
fn linker_llvm(installs: &str) -> Option<u32> {
    let (_, entry) = installs.split_once("\"bpf-linker ")?;
    let (entry, _) = entry.split_once('}')?;
    let (_, features) = entry.split_once("\"features\":[")?;
    let (features, _) = features.split_once(']')?;
    features.split(',').find_map(|feature| feature.trim_matches('"').strip_prefix("llvm-")?.parse().ok())
}

/// The newest nightly, when its standard library's source is there to build `core` from.
fn nightly_with_source() -> Option<(PathBuf, PathBuf)> {
    let sysroot = output(
        Command::new("rustup")
            .args(["run", "nightly", "rustc", "--print", "sysroot"])
            .env("RUSTUP_AUTO_INSTALL", "0"),
    )?;
    let sysroot = Path::new(sysroot.trim());
    sysroot
        .join("lib/rustlib/src/rust/library/core")
        .is_dir()
        .then(|| (sysroot.join("bin/cargo"), sysroot.join("bin/rustc")))
}

/// Whether a compiler has a library of Rust itself, compiled for `target`.
pub(crate) fn has_precompiled(library: &str, rustc: &Path, target: &str) -> bool {
    // `--print` prints a path whether or not anything is there.
    output(Command::new(rustc).args(["--print", "target-libdir", "--target", target]))
        .and_then(|directory| fs::read_dir(directory.trim()).ok())
        .is_some_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with(library) && name.ends_with(".rlib")
            })
        })
}

fn llvm_major(rustc: &Path) -> Option<u32> {
    let version = output(Command::new(rustc).arg("-vV"))?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    llvm.split('.').next()?.parse().ok()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::linker_llvm;

    #[test]
    fn the_llvm_of_bpf_linker_is_read_from_cargos_record_of_it_alone() {
        let installs = r#"{"installs":{"b 1.0.0 (x)":{"features":["llvm-9"]},
            "bpf-linker 0.13.0 (x)":{"bins":["bpf-linker"],"features":["no-llvm-linking","llvm-22"]}}}"#;
        assert_eq!(linker_llvm(installs), Some(22));
        assert_eq!(linker_llvm(r#"{"installs":{"b 1.0.0 (x)":{"features":["llvm-9"]}}}"#), None);
    }
}
