//! Measures the time from starting a tracer to its first record, while a load makes connections.

use super::{Programs, load, median};
use crate::privilege::has_program;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// More connections than any measurement takes.
const ENDLESS: u64 = 1_000_000_000;

/// The median of one tool.
pub(crate) struct StartUp {
    pub name: String,
    pub seconds: Option<f64>,
}

/// Measures tcptrace with both backends, and tcpstates where it is installed.
pub(crate) fn measure(programs: &Programs, rounds: u32) -> Result<Vec<StartUp>> {
    let mut candidates: Vec<(String, &Path, Vec<&str>, &str)> = Vec::new();
    for backend in ["btf", "tracepoint"] {
        let arguments = vec!["trace", "-q", "--backend", backend, "--format", "jsonl"];
        candidates.push((
            format!("tcptrace trace, {backend}"),
            &programs.tcptrace,
            arguments,
            "\"type\":\"transition\"",
        ));
    }
    for name in ["tcpstates", "tcpstates-bpfcc"] {
        if has_program(name) {
            // Only its records have an arrow, not its header.
            candidates.push((name.into(), Path::new(name), Vec::new(), "->"));
        }
    }
    let _load = Killed(load::start(programs, ENDLESS, true)?);
    let mut seconds = vec![Vec::new(); candidates.len()];
    for _ in 0..rounds {
        for ((_, program, arguments, record), seconds) in candidates.iter().zip(&mut seconds) {
            seconds.extend(first_record(program, arguments, record)?);
        }
    }
    Ok(candidates
        .into_iter()
        .zip(seconds)
        .map(|((name, ..), seconds)| StartUp { name, seconds: median(&seconds) })
        .collect())
}

/// Seconds until the first line that contains `record`; `None` where the output ends before.
fn first_record(program: &Path, arguments: &[&str], record: &str) -> Result<Option<f64>> {
    let started = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let mut child = Killed(child);
    let output = child.0.stdout.take().context("a child without output")?;
    for line in BufReader::new(output).lines() {
        if line.context("cannot read a tracer's output")?.contains(record) {
            return Ok(Some(started.elapsed().as_secs_f64()));
        }
    }
    Ok(None)
}

/// A process that dropping this ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
