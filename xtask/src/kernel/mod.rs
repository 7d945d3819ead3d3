//! Runs the live tests on one of Debian's kernels, in a virtual machine. It emulates the processor, so it
//! needs no right to virtualise. The guest consists of this host's programs, in memory, and changes nothing
//! on the host.

mod guest;
mod machine;
mod package;

use crate::cargo::{build, examples, test_binary, workspace};
use crate::test::with_live_tests;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};

/// Programs that building and booting a guest needs, and that not every system has.
pub(crate) const PROGRAMS: [&str; 3] = ["qemu-system-x86_64", "cpio", "insmod"];

/// Debian's packages with these programs.
pub(crate) const PACKAGES: [&str; 3] = ["qemu-system-x86", "cpio", "kmod"];

/// Tests that put the host under load or depend on its speed: in a guest that is the emulator's speed, and says nothing
/// about the kernel. Those that compile programs need a compiler, which a guest does not have.
const LEFT_OUT: [&str; 8] = [
    "bounds",
    "clear_many",
    "compiled",
    "crowds",
    "failing",
    "killed",
    "rotation",
    "the_ports_run_out_at_the_predicted_moment",
];

/// Runs the live tests with these arguments for the test binary on the latest kernel of this version (`6.12`) that
/// Debian has; without arguments, all that can be judged there.
pub(crate) fn test_on(version: &str, arguments: &[OsString]) -> Result<ExitCode> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the virtual machine is one for x86_64, and so have the tests to be");
    }
    // The tool is optimised, because the emulator is slow. The programs that leak are not: the tests know their stacks.
    let [tool] = build(true, [("--bin", "tcptrace")])?;
    let examples = examples()?;
    let tests = test_binary("it")?;
    let directory = workspace().join("target/kernels");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let kernel = package::fetch(version, &directory)?;
    println!("Linux {}, from Debian's {}", kernel.release, kernel.package);
    let mut arguments = match arguments {
        [] => LEFT_OUT.iter().flat_map(|name| ["--skip", name]).map(OsString::from).collect(),
        _ => arguments.to_vec(),
    };
    arguments.extend(with_live_tests(&arguments).map(OsString::from));
    let arguments = &arguments;
    let guest = guest::Guest { kernel: &kernel, tool: &tool, examples: &examples, tests: &tests, arguments };
    let image = guest.build(&directory)?;
    machine::run(&kernel.image, &image)
}

/// Runs a command to its end, and returns its output.
fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
