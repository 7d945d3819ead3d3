//! `cargo xtask run`: from a fresh clone to a running tcptrace. Becomes tcptrace, so that signals
//! and the exit code are its own.

use crate::cargo::build;
use crate::prepare::Prepare;
use crate::privilege::as_root;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Run {
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
    /// Returns only when something fails before tcptrace starts.
    pub fn execute(self) -> Result<ExitCode> {
        self.prepare.execute()?;
        let [tcptrace] = build(!self.debug, [("--bin", "tcptrace")])?;
        let error = as_root(&tcptrace)?.args(self.arguments).exec();
        Err(error).with_context(|| format!("cannot run {}", tcptrace.display()))
    }
}
