//! Runs cargo for this workspace. The verbs decide what is built, never this file.

use crate::dist::Architecture;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What has rustc link everything in.
pub(crate) const STATIC: &str = "-Ctarget-feature=+crt-static";

/// The cargo that runs this program, with the workspace's root as its directory.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Builds targets of package tcptrace (`--bin tcptrace`, `--example leaky`, …) and returns the
/// paths of the executables in the order of `names`.
pub(crate) fn build<const N: usize>(release: bool, names: [(&str, &str); N]) -> Result<[PathBuf; N]> {
    build_for(None, release, names)
}

/// As [`build`], for another processor than this host's if one is named.
pub(crate) fn build_for<const N: usize>(
    other: Option<Architecture>,
    release: bool,
    names: [(&str, &str); N],
) -> Result<[PathBuf; N]> {
    let mut command = package("build", other);
    command.args(release.then_some("--release"));
    for (kind, name) in names {
        command.args([kind, name]);
    }
    let executables = executables(command)?;
    let mut paths = [const { PathBuf::new() }; N];
    for (path, (_, name)) in paths.iter_mut().zip(names) {
        let built = executables
            .iter()
            .find(|executable| executable.file_name().is_some_and(|file| file == name))
            .with_context(|| format!("cargo built no executable called {name}"))?;
        path.clone_from(built);
    }
    Ok(paths)
}

/// Builds tcptrace as it is handed out, with everything linked in: how soon it starts goes by that.
pub(crate) fn build_static() -> Result<PathBuf> {
    let architecture =
        Architecture::of_this_host().context("tcptrace is not handed out for this processor")?;
    let mut command = package("build", Some(architecture));
    command.args(["--release", "--bin", "tcptrace"]).env("CARGO_ENCODED_RUSTFLAGS", STATIC);
    executables(command)?.pop().context("cargo built no executable")
}

/// Builds all programs of the tests, for another processor than this host's if one is named, and returns the folder they
/// are in.
pub(crate) fn examples(other: Option<Architecture>) -> Result<PathBuf> {
    let mut command = package("build", other);
    command.arg("--examples");
    let built = executables(command)?;
    built.first().and_then(|example| example.parent()).map(Path::to_owned).context("cargo built no example")
}

/// Builds a test target of package tcptrace, optimised, and returns the path of its binary.
pub(crate) fn test_binary(other: Option<Architecture>, name: &str) -> Result<PathBuf> {
    let mut command = package("test", other);
    command.args(["--release", "--no-run", "--test", name]);
    // Its name has a hash at the end.
    let is_it = |path: &PathBuf| {
        path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-")))
    };
    executables(command)?
        .into_iter()
        .find(is_it)
        .with_context(|| format!("cargo built no tests called {name}"))
}

/// A cargo that builds targets of package tcptrace.
fn package(verb: &str, other: Option<Architecture>) -> Command {
    let mut command = cargo();
    command.args([verb, "--package", "tcptrace", "--message-format", "json-render-diagnostics"]);
    if let Some(architecture) = other {
        architecture.build_for(&mut command);
    }
    command
}

/// Runs a cargo that builds, and returns the executables it has built.
fn executables(mut command: Command) -> Result<Vec<PathBuf>> {
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo failed: see its messages above");
    }
    let messages = output.stdout.split(|byte| *byte == b'\n');
    Ok(messages
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect())
}

/// Runs `command` to its end, and returns whether it succeeded as our exit code.
pub(crate) fn finish(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
