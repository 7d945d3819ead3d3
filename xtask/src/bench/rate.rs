//! `cargo xtask bench rate`: measures how many connections the machine can make, with two loads at once,
//! while `tcptrace trace` writes every transition to a file. Fails if a record is lost between the kernel
//! side and the file.
//!
//! Two losses cannot be avoided; this shows them and bounds them. The kernel does not run a program again
//! that is interrupted by the event it is attached to (`recursion_misses`). And rarely, in timer context, it
//! skips the tracepoint altogether: programs that do nothing and other tools on the hook miss the same
//! transitions there.

use super::bpf_stats;
use super::load::{self, TRANSITIONS};
use super::tracer::{self, Tracer};
use super::{Programs, configuration};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// How many loads run at once. Nothing is pinned, so the tracer competes with them.
const LOADS: usize = 2;

/// Prints the rates with and without the tracer, and what happened to the records.
pub(crate) fn measure(programs: &Programs, connections: u64) -> Result<ExitCode> {
    let (alone, _) = together(programs, connections)?;
    println!("without a tracer: {alone:.0} connections/s");
    let mut code = ExitCode::SUCCESS;
    for backend in ["btf", "tracepoint"] {
        let configuration = configuration::tcptrace(programs, "trace", backend);
        let tracer = Tracer::start_anywhere(&configuration, programs.scratch.path())?;
        let (rate, ports) = together(programs, connections)?;
        tracer.settle();
        let nested = bpf_stats::of_process(tracer.pid()).iter().map(|program| program.nested).sum::<u64>();
        tracer.end(&configuration)?;
        let records = configuration.records.context("trace writes no records")?;
        let summary = tracer::last_line(&records)?;
        let counter =
            |name: &str| summary[name].as_u64().with_context(|| format!("the summary has no {name}"));
        let lost = counter("lost")?.saturating_sub(nested) + counter("dropped")? + counter("undecodable")?;
        let mut found = 0;
        for port in ports {
            found += tracer::transitions(&records, port)?;
        }
        std::fs::remove_file(&records).with_context(|| format!("cannot remove {}", records.display()))?;
        let expected = connections * TRANSITIONS * LOADS as u64;
        println!(
            "{}: {rate:.0} connections/s (×{:.2} slower), {lost} records lost, {found} of {expected} transitions in the file ({nested} runs left out by the kernel)",
            configuration.name,
            alone / rate,
        );
        let passed_over = expected.saturating_sub(found + nested);
        if lost > 0 || passed_over > expected / 100_000 {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// The sum of the rates of all loads, and their ports.
fn together(programs: &Programs, connections: u64) -> Result<(f64, Vec<u64>)> {
    let loads: Vec<_> =
        (0..LOADS).map(|_| load::start(programs, connections, false)).collect::<Result<_>>()?;
    let loads: Vec<_> = loads.into_iter().map(load::finish).collect::<Result<_>>()?;
    Ok((loads.iter().map(|load| load.per_second).sum(), loads.iter().map(|load| load.port).collect()))
}
