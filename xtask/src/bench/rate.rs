//! `cargo xtask bench rate`: the most connections that the machine can make, two loads at once, with
//! `tcptrace trace` writing every transition to a file. Fails when a record was lost.

use super::load::{self, TRANSITIONS};
use super::tracer::{self, Tracer};
use super::{Programs, configuration};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Loads at the same time; nothing is pinned, so the tracer competes with them.
const LOADS: usize = 2;

/// Prints the rates with and without the tracer, and what became of the records.
pub fn measure(programs: &Programs, connections: u64) -> Result<ExitCode> {
    let (alone, _) = together(programs, connections)?;
    println!("without a tracer: {alone:.0} connections/s");
    let mut code = ExitCode::SUCCESS;
    for backend in ["btf", "tracepoint"] {
        let configuration = configuration::tcptrace(programs, "trace", backend);
        let tracer = Tracer::start_anywhere(&configuration, programs.scratch.path())?;
        let (rate, ports) = together(programs, connections)?;
        tracer.settle();
        let lost = tracer.end(&configuration)?.context("the summary has no `lost`")?;
        let records = configuration.records.context("trace writes no records")?;
        let mut found = 0;
        for port in ports {
            found += tracer::transitions(&records, port)?;
        }
        std::fs::remove_file(&records).with_context(|| format!("cannot remove {}", records.display()))?;
        let expected = connections * TRANSITIONS * LOADS as u64;
        println!(
            "{}: {rate:.0} connections/s (×{:.2} slower), {lost} records lost, {found} of {expected} transitions in the file",
            configuration.name,
            alone / rate,
        );
        if lost > 0 || found != expected {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// The rates of all loads added up, and their ports.
fn together(programs: &Programs, connections: u64) -> Result<(f64, Vec<u64>)> {
    let loads: Vec<_> =
        (0..LOADS).map(|_| load::start(programs, connections, false)).collect::<Result<_>>()?;
    let loads: Vec<_> = loads.into_iter().map(load::finish).collect::<Result<_>>()?;
    Ok((loads.iter().map(|load| load.per_second).sum(), loads.iter().map(|load| load.port).collect()))
}
