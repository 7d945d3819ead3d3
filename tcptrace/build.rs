//! Compiles the kernel side and leaves its objects in `OUT_DIR` for `aya::include_bytes_aligned!`.
//!
//! It installs nothing: when the compiler or the linker for BPF is missing it says what to do and
//! fails. The inner cargo has a target directory of its own, because the outer one holds the lock
//! of the shared one while this runs.

#![expect(clippy::print_stderr, reason = "a build script talks to the user")]

#[path = "../xtask/src/bpf_toolchain.rs"]
mod bpf_toolchain;

use bpf_toolchain::{Compiler, Linker};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// Binaries of package `tcptrace-ebpf` that are compiled with a feature, and what the names of their objects end in.
struct Pass {
    feature: &'static str,
    programs: &'static [&'static str],
    ending: &'static str,
}

/// Those of the tracer have records cross ring buffers, or perf event arrays.
const PASSES: [Pass; 2] = [
    Pass {
        feature: "programs",
        programs: &["tcptrace-btf", "tcptrace-tracepoint", "tcptrace-holders", "tcptrace-empty"],
        ending: "",
    },
    Pass { feature: "perf", programs: &["tcptrace-btf", "tcptrace-tracepoint"], ending: "-perf" },
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot build the kernel side: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    for input in [
        "tcptrace-ebpf/src",
        "tcptrace-ebpf/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
        "xtask/src/bpf_toolchain.rs",
        "tcptrace/build.rs",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?);
    let target_directory = out.join("bpf-target");
    let (compiler, linker) = bpf_toolchain::find()?;

    for pass in &PASSES {
        let mut cargo = cargo(&workspace, &target_directory, &compiler, &linker);
        cargo.args(["--features", pass.feature]);
        cargo.args(pass.programs.iter().flat_map(|program| ["--bin", program]));
        run(cargo)?;
        let release = target_directory.join(bpf_toolchain::target()).join("release");
        for program in pass.programs {
            let from = release.join(program);
            let object =
                fs::read(&from).map_err(|error| format!("cannot read {}: {error}", from.display()))?;
            let to = out.join(format!("{program}{}", pass.ending));
            fs::write(&to, without_dwarf(&object)?)
                .map_err(|error| format!("cannot write {}: {error}", to.display()))?;
        }
    }
    Ok(())
}

/// The object without DWARF, which the linker has turned into BTF. It is most of the object, and aya reads its relocations at
/// every start.
fn without_dwarf(object: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut builder = Builder::read(object)?;
    let is_dwarf =
        |name: &[u8]| [&b".debug_"[..], b".rel.debug_"].iter().any(|of_all| name.starts_with(of_all));
    for section in builder.sections.iter_mut().filter(|section| is_dwarf(&section.name)) {
        section.delete = true;
    }
    builder.delete_orphans();
    // The linker keeps names of sections and of symbols in one table, which the writer does not know.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut rest = Vec::new();
    builder.write(&mut rest)?;
    Ok(rest)
}

/// The command that compiles binaries for the BPF target.
fn cargo(workspace: &Path, target_directory: &Path, compiler: &Compiler, linker: &Linker) -> Command {
    let mut cargo = Command::new(&compiler.cargo);
    cargo.current_dir(workspace);
    cargo.args(["build", "--release", "--locked", "--quiet", "--package", "tcptrace-ebpf"]);
    cargo.arg("--target").arg(bpf_toolchain::target()).arg("--target-dir").arg(target_directory);
    if compiler.build_std {
        cargo.args(["-Z", "build-std=core"]);
    }
    // What the outer cargo and rustup set is about the host's compiler and would lead the inner one astray.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let inherited = text.starts_with("RUST") && text != "RUSTUP_HOME"
            || text.starts_with("CARGO") && text != "CARGO_HOME" && !text.starts_with("CARGO_NET_")
            || matches!(
                &*text,
                "TARGET" | "HOST" | "OUT_DIR" | "OPT_LEVEL" | "PROFILE" | "DEBUG" | "LD_LIBRARY_PATH"
            );
        if inherited {
            cargo.env_remove(&name);
        }
    }
    let mut flags = vec!["-Clink-arg=--btf".into(), format!("-Clinker={}", linker.path.display())];
    // The objects hold paths of sources, and are to be the same wherever they are built. Of several that fit, the last
    // counts. The linker reads our sources for the verifier's log, from the directory it runs in.
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let sysroot = compiler.rustc.parent().and_then(Path::parent).filter(|_| compiler.build_std);
    let renamed = [
        (Some(workspace), "."),
        (cargo_home.as_deref(), "/cargo"),
        (sysroot, "/rust"),
        (Some(target_directory), "/build"),
    ];
    for (from, to) in renamed {
        flags.extend(from.map(|from| format!("--remap-path-prefix={}={to}", from.display())));
    }
    cargo
        .env("RUSTC", &compiler.rustc)
        // aya-ebpf needs unstable features, which only this lets a stable compiler have.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_LTO", "false")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("AYA_BPF_TARGET_ARCH", env::var_os("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    cargo
}

/// Runs it, and passes on what it warns of.
fn run(mut cargo: Command) -> Result<(), Box<dyn Error>> {
    let command = cargo.get_program().to_string_lossy().into_owned();
    let built = cargo.output().map_err(|error| format!("cannot run {command}: {error}"))?;
    let messages = String::from_utf8_lossy(&built.stderr);
    if !built.status.success() {
        return Err(format!("{command} build --package tcptrace-ebpf: {}\n{messages}", built.status).into());
    }
    for line in messages.lines() {
        println!("cargo::warning={line}");
    }
    Ok(())
}
