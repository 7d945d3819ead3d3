//! `cargo xtask ci`: everything that a change must pass, format and lints first, then every test. Runs the same
//! verbs that a developer runs, and checks nothing by itself.

use crate::lint::Lint;
use crate::prepare::Prepare;
use crate::test::Test;
use anyhow::Result;
use std::process::ExitCode;

/// Arguments of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Ci {
    #[command(flatten)]
    prepare: Prepare,
}

impl Ci {
    /// Runs `lint`, then `test` unless `lint` has failed.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        let lint = Lint { prepare: self.prepare }.execute()?;
        if lint != ExitCode::SUCCESS {
            return Ok(lint);
        }
        Test::all(self.prepare).execute()
    }
}
