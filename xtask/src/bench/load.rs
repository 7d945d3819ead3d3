//! The load: tests/apps/churn.rs makes short connections over loopback. Measures nothing itself, but repeats what that
//! program prints.

use super::Programs;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::{Child, Command, Stdio};

/// The CPU of the load; tracers run on another.
const CPU: &str = "0";

/// Transitions of one connection, both ends together.
pub(crate) const TRANSITIONS: u64 = 10;

/// What a load prints about itself.
pub(crate) struct Load {
    pub nanoseconds: f64,
    pub per_second: f64,
    pub port: u64,
}

/// Makes `connections` connections on CPU 0, and waits for the end.
pub(super) fn run(programs: &Programs, connections: u64) -> Result<Load> {
    finish(start(programs, connections, true)?)
}

/// Starts a load, on CPU 0 or on any.
pub(super) fn start(programs: &Programs, connections: u64, pinned: bool) -> Result<Child> {
    let mut command = Command::new(&programs.churn);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--exchanges", &programs.exchanges.to_string()]);
    if pinned {
        command.args(["--cpu", CPU]);
    }
    command.stdout(Stdio::piped()).spawn().context("cannot start the load")
}

/// Waits for a load and reads its result.
pub(crate) fn finish(load: Child) -> Result<Load> {
    let output = load.wait_with_output().context("cannot wait for the load")?;
    if !output.status.success() {
        bail!("the load failed ({}): its message is above", output.status);
    }
    let said: Value = serde_json::from_slice(&output.stdout).context("the load printed no JSON")?;
    let number = |name: &str| said[name].as_f64().with_context(|| format!("the load gave no {name}"));
    Ok(Load {
        nanoseconds: number("elapsed_ns")?,
        per_second: number("per_second")?,
        port: said["port"].as_u64().context("the load gave no port")?,
    })
}
