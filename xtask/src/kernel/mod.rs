//! Runs the live tests on one of Debian's kernels, in a virtual machine. It emulates the processor, so it
//! needs no right to virtualise, and it may be another than this host's. The guest consists of this host's programs, or of
//! Debian's for that processor, in memory, and changes nothing on the host.

mod compilers;
mod guest;
mod machine;
mod package;
mod page;
mod variant;

use crate::cargo::{build_for, examples, test_binary, workspace};
use crate::dist::Architecture;
use crate::test::with_live_tests;
use anyhow::{Context, Result, bail};
use package::{Archive, Kernel};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;
use variant::Variant;

pub(crate) use machine::Emulator;

/// Programs that building a guest needs, and that not every system has.
pub(crate) const PROGRAMS: [&str; 2] = ["cpio", "insmod"];

/// Debian's packages with these programs.
pub(crate) const PACKAGES: [&str; 2] = ["cpio", "kmod"];

/// Tests that are left out on another processor than this host's, where nobody has looked how its emulation does under load.
/// Those that compile programs need a compiler for it, which its guest does not have.
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

/// How long a guest may take: for all live tests, and for what shows what works.
const LONGEST_TESTS: Duration = Duration::from_mins(90);
const LONGEST_SHOW: Duration = Duration::from_mins(10);

/// The test that shows what works on a kernel, and what begins the line with what it found.
const SHOW: &str = "kernels::";
const FOUND: &str = "kernel: ";

/// Runs the live tests with these arguments for the test binary on the latest kernel of this version (`6.12`) that
/// Debian has; without arguments, all that can be judged there.
pub(crate) fn test_on(version: &str, architecture: Architecture, arguments: &[OsString]) -> Result<ExitCode> {
    let mut arguments = match arguments {
        [] if !architecture.is_of_this_host() => {
            LEFT_OUT.iter().flat_map(|name| ["--skip", name]).map(OsString::from).collect()
        }
        _ => arguments.to_vec(),
    };
    arguments.extend(with_live_tests(&arguments).map(OsString::from));
    let (kernel, image) = guest(version, architecture, &arguments)?;
    let ended = machine::run(&kernel, &image, Variant::Whole, LONGEST_TESTS, FOUND)?;
    Ok(if ended.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows what works on the latest kernel of this version that Debian has, as it is and with what some hosts lack taken away;
/// in the docs too, where that is wanted.
pub(crate) fn show(version: &str, architecture: Architecture, write: bool) -> Result<ExitCode> {
    let arguments = ["--nocapture", "--include-ignored", SHOW].map(OsString::from);
    let (kernel, image) = guest(version, architecture, &arguments)?;
    let (mut found, mut passed) = (Vec::new(), true);
    for variant in Variant::ALL {
        println!("\n{}:", variant.title());
        let ended = machine::run(&kernel, &image, variant, LONGEST_SHOW, FOUND)?;
        passed &= ended.passed;
        for line in ended.marked {
            let line = serde_json::from_str(&line).with_context(|| format!("strange: {line}"))?;
            found.push((variant, line));
        }
    }
    println!("\n{}", page::section(&kernel, &found));
    if write && passed {
        page::write(&kernel, &found)?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fetches a kernel, and builds the guest that runs the live tests with these arguments.
fn guest(version: &str, architecture: Architecture, arguments: &[OsString]) -> Result<(Kernel, PathBuf)> {
    let other = Some(architecture).filter(|architecture| !architecture.is_of_this_host());
    // The tool is optimised, because the emulator is slow. The programs that leak are not: the tests know their stacks.
    let [tool] = build_for(other, true, [("--bin", "tcptrace")])?;
    let examples = examples(other)?;
    let tests = test_binary(other, "it")?;
    let directory = workspace().join("target/kernels");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let archive = Archive::open(architecture, &directory)?;
    let kernel = archive.kernel(version)?;
    println!("Linux {}, from Debian's {}", kernel.release, kernel.package);
    let programs = other.map(|_| archive.programs(&guest::PACKAGES)).transpose()?;
    let guest = guest::Guest {
        kernel: &kernel,
        programs: programs.as_deref(),
        tool: &tool,
        examples: &examples,
        tests: &tests,
        arguments,
    };
    let image = guest.build(&directory)?;
    Ok((kernel, image))
}

/// Runs a command to its end, and returns its output.
fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
