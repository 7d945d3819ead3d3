//! Very many leaked sockets in very many processes, made by tests/apps/leaky. Measures nothing, and
//! leaves no process behind.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The program that leaks, with everything in CLOSE_WAIT. Dropping it kills it.
pub struct Leaking(Child);

impl Leaking {
    /// Returns once all sockets are leaked.
    pub fn start(leaky: &Path, processes: u32, count: u32, ballast: u32) -> Result<Self> {
        let mut command = Command::new(leaky);
        command.arg("many");
        for (name, value) in [("--processes", processes), ("--count", count), ("--ballast", ballast)] {
            command.args([name, &value.to_string()]);
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the program that leaks")?;
        let mut leaking = Self(child);
        let output = leaking.0.stdout.take().context("a child without output")?;
        for line in BufReader::new(output).lines() {
            if line.context("cannot read what the program that leaks says")?.contains("\"ready\":true") {
                return Ok(leaking);
            }
        }
        bail!("the program that leaks ended before it was ready: its message is above")
    }

    /// Asks it to end, and its processes with it, and waits.
    pub fn end(mut self) -> Result<()> {
        // The end of its input is what it ends at.
        drop(self.0.stdin.take());
        let status = self.0.wait().context("cannot wait for the program that leaks")?;
        if !status.success() {
            bail!("the program that leaks failed ({status}): its message is above");
        }
        Ok(())
    }
}

impl Drop for Leaking {
    fn drop(&mut self) {
        // Errors mean that it has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
