//! `cargo xtask test`: runs every test, those on the live kernel as root. It leaves none out unless an option says so,
//! and then cargo counts it as ignored.

use crate::cargo::{cargo, finish};
use crate::dist::Architecture;
use crate::kernel;
use crate::prepare::Prepare;
use crate::privilege::{has_program, is_root};
use crate::real;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Test {
    #[command(flatten)]
    prepare: Prepare,
    /// Leave out the tests on the live kernel, which need root
    #[arg(long)]
    no_live: bool,
    /// Run the live tests on the latest kernel of this version that Debian has (5.10, 6.1, 6.12, 7.2), in a virtual machine;
    /// it emulates the processor, which takes a while
    #[arg(long, value_name = "VERSION", conflicts_with = "no_live")]
    kernel: Option<String>,
    /// The processor of that kernel, if it is not this host's
    #[arg(long, value_name = "PROCESSOR", requires = "kernel")]
    arch: Option<Architecture>,
    /// Show instead what works on that kernel: as it is, with BTF hidden, without `inet_diag`, and locked down
    #[arg(long, requires = "kernel", conflicts_with = "arguments")]
    variants: bool,
    /// Leak in all the ways of real software, a dozen languages of Debian's, and show for each whether its line of code is
    /// named; installs them. `GROUP: WAY`, or a part of it, runs only those
    #[arg(long, value_name = "WAYS", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["no_live", "kernel", "arguments"])]
    real: Option<String>,
    /// Write what `--real` or `--variants` shows into tcptrace/docs
    #[arg(long)]
    write: bool,
    /// Names of tests, and other arguments for the test binaries
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl Test {
    /// Every test, with nothing left out.
    pub(crate) fn all(prepare: Prepare) -> Self {
        Self {
            prepare,
            no_live: false,
            kernel: None,
            arch: None,
            variants: false,
            real: None,
            write: false,
            arguments: Vec::new(),
        }
    }

    /// Builds as the user, runs as root.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        if self.write && self.real.is_none() && !self.variants {
            bail!("--write goes with --real or --variants");
        }
        if let Some(ways) = &self.real {
            return real::execute(self.prepare, ways, self.write);
        }
        if let Some(version) = &self.kernel {
            let architecture = self.arch.or_else(Architecture::of_this_host);
            let architecture =
                architecture.context("no kernel runs tests built for this processor: name one by --arch")?;
            self.prepare.execute_for_other_kernels(architecture)?;
            if self.variants {
                return kernel::show(version, architecture, self.write);
            }
            return kernel::test_on(version, architecture, &self.arguments);
        }
        let through_sudo = !self.no_live && !is_root();
        if through_sudo && !has_program("sudo") {
            bail!("the live tests need root, and there is no sudo here: run this as root, or with --no-live");
        }
        if self.no_live {
            self.prepare.execute()?;
        } else {
            self.prepare.execute_for_live_tests()?;
        }
        let mut test = cargo();
        test.args(["test", "--workspace", "--locked", "--"]).args(&self.arguments);
        if !self.no_live {
            test.args(with_live_tests(&self.arguments));
            test.args(with_more_threads(&self.arguments));
        }
        if through_sudo {
            run_as_root(&mut test)?;
        }
        finish(&mut test)
    }
}

/// Has cargo run through sudo what it has built.
pub(crate) fn run_as_root(test: &mut Command) -> Result<()> {
    test.env(runner_variable()?, "sudo -E");
    Ok(())
}

/// The argument that makes a test binary run live tests too: they are marked `#[ignore]`, and nothing else is. None
/// where the caller has already said what to do with ignored tests.
pub(crate) fn with_live_tests(arguments: &[OsString]) -> Option<&'static str> {
    let is_said = arguments.iter().any(|word| word == "--ignored" || word == "--include-ignored");
    (!is_said).then_some("--include-ignored")
}

/// The argument that has one test more run at once than there are processors: live tests mostly wait, for a socket to get
/// old. None where the caller has already said how many.
fn with_more_threads(arguments: &[OsString]) -> Option<String> {
    let is_said = arguments.iter().any(|word| word.to_string_lossy().starts_with("--test-threads"));
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (!is_said).then(|| format!("--test-threads={}", processors + 1))
}

/// The variable with which cargo runs what it has built for this host.
fn runner_variable() -> Result<String> {
    let version = Command::new("rustc").arg("-vV").output().context("cannot run rustc -vV")?;
    let version = String::from_utf8_lossy(&version.stdout);
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace(['-', '.'], "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_tests_are_asked_for_unless_the_caller_has_said_what_to_do_with_them() {
        let with = |words: &[&str]| with_live_tests(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(with(&["scoreboard", "--nocapture"]), Some("--include-ignored"));
        assert_eq!(with(&["--ignored"]), None);
        assert_eq!(with(&["--include-ignored"]), None);
    }

    #[test]
    fn how_many_tests_run_at_once_is_the_callers_choice() {
        let with = |words: &[&str]| with_more_threads(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(with(&["scoreboard"]).is_some_and(|argument| argument.starts_with("--test-threads=")));
        assert_eq!(with(&["--test-threads=1"]), None);
    }
}
