//! A process of a row's own, which does not outlive it.

use anyhow::{Context, Result};
use std::process::{Child, Command, Stdio};

/// Dropping it kills the process.
pub(crate) struct Process(pub Child);

impl Process {
    /// Starts it, with nothing to read.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot run {command:?}"))?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
