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
        finish(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    }
}
