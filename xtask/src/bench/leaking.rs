//! Has tests/apps/leaky leak very many sockets in very many processes. Measures nothing, and leaves no process behind.

use anyhow::{Context, Result, bail};
use serde_json::{Value, from_str};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The leaking program, with all its sockets in CLOSE_WAIT. Dropping it kills it.
pub(crate) struct Leaking {
    child: Child,
    holders: Vec<u32>,
}

impl Leaking {
    /// Runs the program by this command. Returns once all sockets are leaked.
    pub(crate) fn start(command: &mut Command, processes: u32, count: u32, ballast: u32) -> Result<Self> {
        command.arg("many");
        for (name, value) in [("--processes", processes), ("--count", count), ("--ballast", ballast)] {
            command.args([name, &value.to_string()]);
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the program that leaks")?;
        let mut leaking = Self { child, holders: Vec::new() };
        let output = leaking.child.stdout.take().context("a child without output")?;
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what the program that leaks says")?;
            let truth: Value = from_str(&line).context("what the program that leaks says is no JSON")?;
            if truth["ready"] == true {
                leaking.holders.sort_unstable();
                leaking.holders.dedup();
                return Ok(leaking);
            }
            let holders = truth["holders"].as_array().into_iter().flatten();
            let pids = holders.filter_map(|holder| u32::try_from(holder["pid"].as_u64()?).ok());
            leaking.holders.extend(pids);
        }
        bail!("the program that leaks ended before it was ready: its message is above")
    }

    /// The processes that hold the sockets.
    pub(crate) fn holders(&self) -> &[u32] {
        &self.holders
    }

    /// Ends it and its processes, and waits.
    pub(crate) fn end(mut self) -> Result<()> {
        // It ends at the end of its input.
        drop(self.child.stdin.take());
        let status = self.child.wait().context("cannot wait for the program that leaks")?;
        if !status.success() {
            bail!("the program that leaks failed ({status}): its message is above");
        }
        Ok(())
    }
}

impl Drop for Leaking {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
