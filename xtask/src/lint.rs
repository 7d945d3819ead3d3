//! `cargo xtask lint`: format and lints, where a warning is an error. Changes no file.

use crate::cargo::{cargo, finish};
use crate::prepare::Prepare;
use anyhow::Result;
use std::process::ExitCode;

/// Arguments of `cargo xtask lint`.
#[derive(clap::Args)]
pub(crate) struct Lint {
    #[command(flatten)]
    pub prepare: Prepare,
}

impl Lint {
    /// Checks the format, then the lints.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        // The lints need the build script's output, so what builds the kernel side must be there.
        self.prepare.execute()?;
        let format = finish(cargo().args(["fmt", "--all", "--check"]))?;
        if format != ExitCode::SUCCESS {
            eprintln!("The format differs: run `cargo fmt`.");
            return Ok(format);
        }
        let everything = ["--workspace", "--all-targets"];
        // `--all-targets` leaves out what `cargo test` does not run by itself.
        let scenes = ["--package", "tcptrace", "--test", "scenes"];
        for targets in [&everything[..], &scenes[..]] {
            let mut clippy = cargo();
            clippy.arg("clippy").args(targets).args(["--locked", "--", "-D", "warnings"]);
            let lints = finish(&mut clippy)?;
            if lints != ExitCode::SUCCESS {
                return Ok(lints);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
