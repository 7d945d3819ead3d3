//! What every row works with: the programs, built, and folders that go when all is done.

use crate::cargo::build;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The programs, and how much is asked of them.
pub(crate) struct Ground {
    /// The tool, as it is handed out.
    pub tcptrace: PathBuf,
    /// Makes short connections: tests/apps/churn.rs.
    pub churn: PathBuf,
    /// Leaks sockets: tests/apps/leaky.
    pub leaky: PathBuf,
    /// Lists BPF objects: tests/apps/loaded.rs.
    pub loaded: PathBuf,
    /// Whether rows are to do all that they promise.
    is_long: bool,
    scratch: tempfile::TempDir,
}

impl Ground {
    /// Builds the programs.
    pub(crate) fn new(is_long: bool) -> Result<Self> {
        let examples = ["churn", "leaky", "loaded"].map(|name| ("--example", name));
        let [tcptrace, churn, leaky, loaded] =
            build(true, [("--bin", "tcptrace"), examples[0], examples[1], examples[2]])?;
        let scratch = tempfile::Builder::new().prefix("faults-").tempdir();
        let scratch = scratch.context("cannot make a temporary directory (TMPDIR?)")?;
        Ok(Self { tcptrace, churn, leaky, loaded, is_long, scratch })
    }

    /// How many times: the first number, or with `--long` the second.
    pub(crate) fn times(&self, short: u32, long: u32) -> u32 {
        if self.is_long { long } else { short }
    }

    /// A new, empty folder.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        let folder = tempfile::tempdir_in(self.scratch.path()).context("cannot make a folder")?;
        Ok(folder.keep())
    }

    /// Where all folders are.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The tool with these arguments.
    pub(crate) fn tool<S: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.tcptrace);
        command.args(words);
        command
    }
}

/// Removes what a row has written, which may be gigabytes.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// How often a condition is looked at, and what counts of a step that took longer.
const STEP: Duration = Duration::from_millis(5);
const LONGEST_STEP: Duration = Duration::from_millis(200);

/// Waits for a condition, but for no longer than `limit`, and returns how long that took. While this process does not
/// run either, as when the virtual machine is paused, no time passes.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let mut waited = Duration::ZERO;
    let mut last = Instant::now();
    while !condition()? {
        if waited > limit {
            bail!("not after {} s: {what}", limit.as_secs());
        }
        sleep(STEP);
        waited += last.elapsed().min(LONGEST_STEP);
        last = Instant::now();
    }
    Ok(waited)
}

/// Runs a command to its end, and returns what it printed.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
