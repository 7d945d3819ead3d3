//! The options of `leaks --exec`, and what they mean.

use std::{ffi::OsString, time::Duration};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};

use super::{exec::ExecOptions, values};

#[derive(Debug, Args)]
#[command(next_help_heading = "A command for each leak")]
pub(crate) struct ExecArguments {
    /// Run CMD by /bin/sh for each leak, with the record as JSON on its standard input and the most wanted
    /// of it in variables (TCPTRACE_PID, TCPTRACE_COMM, TCPTRACE_COOKIE, TCPTRACE_VERDICT …); what it prints
    /// goes to standard error. At most ten are started a second
    #[arg(long, value_name = "CMD", value_parser = command())]
    exec: Option<OsString>,
    /// Kill CMD, and everything in its process group, when it takes longer
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "30s", requires = "exec")]
    exec_timeout: Duration,
    /// Commands that run at once; 256 leaks wait for their turn, further ones are counted as left out
    #[arg(long, value_name = "N", value_parser = values::jobs, default_value_t = 4, requires = "exec")]
    exec_jobs: u8,
}

/// Takes a command: an empty one would do nothing, and say that it did.
fn command() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|command| {
        let is_blank = command.to_string_lossy().trim().is_empty();
        if is_blank { Err("there is no command in it") } else { Ok(command) }
    })
}

impl ExecArguments {
    /// What the options mean; `None` when no command is wanted.
    pub(crate) fn resolve(&self) -> Option<ExecOptions> {
        let Self { exec, exec_timeout, exec_jobs } = self;
        Some(ExecOptions { command: exec.clone()?, at_once: usize::from(*exec_jobs), timeout: *exec_timeout })
    }
}
