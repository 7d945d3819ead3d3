//! Builds, runs, tests and measures tcptrace. One file a verb; this one only chooses among them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool for the terminal")]

mod bench;
#[expect(dead_code, reason = "the build script uses the rest")]
mod bpf_toolchain;
mod cargo;
mod ci;
mod demo;
mod dist;
mod faults;
mod kernel;
mod lint;
mod package_manager;
mod prepare;
mod privilege;
mod real;
mod run;
mod scenes;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Builds, runs, tests and measures tcptrace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build tcptrace and run it on this host, as root; what follows `--` goes to tcptrace
    Run(run::Run),
    /// Run every test, the ones on the live kernel too
    Test(test::Test),
    /// Run real software (nginx, PostgreSQL, …) in situations whose truth is known; installs it from Debian's packages
    Scenes(scenes::Scenes),
    /// See tcptrace find the culprit behind five leaked sockets
    Demo(demo::Demo),
    /// Measure what tracing costs on this machine, beside the other tools that are installed
    Bench(bench::Bench),
    /// Do to tcptrace what incidents do to it, and show whether its promises hold
    Faults(faults::Faults),
    /// Make what is handed out: static binaries, archives, packages
    Dist(dist::Dist),
    /// Check format and lints
    Lint(lint::Lint),
    /// Everything that a change must pass: `lint`, then `test`
    Ci(ci::Ci),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Run(verb) => verb.execute(),
        Verb::Test(verb) => verb.execute(),
        Verb::Scenes(verb) => verb.execute(),
        Verb::Demo(verb) => verb.execute(),
        Verb::Bench(verb) => verb.execute(),
        Verb::Faults(verb) => verb.execute(),
        Verb::Dist(verb) => verb.execute(),
        Verb::Lint(verb) => verb.execute(),
        Verb::Ci(verb) => verb.execute(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
