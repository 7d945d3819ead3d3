//! `cargo xtask run`: builds and runs tcptrace, from a fresh clone too. The process becomes tcptrace, so that signals
//! reach it and the exit code is its own.

use crate::cargo::build;
use crate::prepare::Prepare;
use crate::privilege::as_root;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    prepare: Prepare,
    /// Build without optimisation
    #[arg(long)]
    debug: bool,
    /// Arguments of tcptrace
    #[arg(last = true, default_value = "leaks", value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl Run {
    /// Returns only where something fails before tcptrace starts.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        self.prepare.execute()?;
        let [tcptrace] = build(!self.debug, [("--bin", "tcptrace")])?;
        let error = as_root(&tcptrace)?.args(self.arguments).exec();
        Err(error).with_context(|| format!("cannot run {}", tcptrace.display()))
    }
}
