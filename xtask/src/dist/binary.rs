//! Builds the static binary from a folder of sources, takes its debug information out, and lists what it consists of.

use super::{Place, architecture::Architecture};
use crate::cargo::{STATIC, cargo};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is made of the sources.
pub(crate) struct Binary {
    /// As it was linked, with symbols.
    pub linked: PathBuf,
    /// As it is handed out.
    pub stripped: PathBuf,
    /// What debuggers read beside it. They find it by the build id.
    pub debug: PathBuf,
    /// The crates that are in it, as CycloneDX.
    pub bill: PathBuf,
}

/// Builds for this processor.
pub(crate) fn build(place: &Place, architecture: Architecture) -> Result<Binary> {
    let target = architecture.target();
    let mut command = cargo();
    command.current_dir(&place.sources);
    command.args([
        "auditable",
        "build",
        "--release",
        "--locked",
        "--package",
        "tcptrace",
        "--bin",
        "tcptrace",
    ]);
    command.arg("--target-dir").arg(&place.build);
    architecture
        .build_for(&mut command)
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(place)?.join("\x1f"))
        .env(format!("CFLAGS_{}", target.replace('-', "_")), c_flags(place)?.join(" "));
    let status = command.status().context("cannot run cargo auditable")?;
    if !status.success() {
        bail!("cargo failed: see its messages above");
    }

    let linked = place.build.join(target).join("release/tcptrace");
    let out = place.out.join(architecture.name());
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let (stripped, debug) = (out.join("tcptrace"), out.join("tcptrace.debug"));
    let objcopy = architecture.tool("objcopy");
    run(Command::new(&objcopy)
        .args(["--only-keep-debug", "--compress-debug-sections"])
        .arg(&linked)
        .arg(&debug))?;
    run(Command::new(&objcopy)
        .arg("--strip-all")
        .arg(format!("--add-gnu-debuglink={}", debug.display()))
        .arg(&linked)
        .arg(&stripped))?;
    for file in [&stripped, &debug] {
        let mode = if *file == stripped { 0o755 } else { 0o644 };
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    }
    let bill = out.join("tcptrace.cdx.json");
    let listed = run(Command::new("auditable2cdx").arg(&stripped))?;
    fs::write(&bill, listed).with_context(|| format!("cannot write {}", bill.display()))?;
    Ok(Binary { linked, stripped, debug, bill })
}

/// Everything linked in, and no path of this machine: two machines with the same compiler make the same bytes.
fn rust_flags(place: &Place) -> Result<Vec<String>> {
    let mut flags = vec![STATIC.to_owned(), "-Clink-arg=-Wl,--build-id=sha1".to_owned()];
    for (from, to) in renamed(place)? {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    Ok(flags)
}

/// The same for the crates that bring C.
fn c_flags(place: &Place) -> Result<Vec<String>> {
    Ok(renamed(place)?
        .into_iter()
        .map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display()))
        .collect())
}

/// Folders of this machine, and what the binary calls them. Of several that fit, the compilers take the last.
fn renamed(place: &Place) -> Result<[(PathBuf, &'static str); 3]> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    Ok([(place.sources.clone(), "/tcptrace"), (cargo_home, "/cargo"), (place.build.clone(), "/build")])
}

/// Runs a command, and returns what it wrote to its standard output.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
