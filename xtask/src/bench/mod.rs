//! `cargo xtask bench`: measures what tracing costs on this machine, in interleaved rounds, as ratios.
//!
//! The load runs on CPU 0 and the tracer on CPU 1, so that only the work in the kernel and the waking of the
//! reader slow the load down. The numbers are for the reader to judge; only verbs that have goals say whether
//! they met them.

mod bpf_stats;
mod clear;
mod configuration;
mod export;
pub(crate) mod leaking;
pub(crate) mod load;
pub(crate) mod memory;
mod now;
mod rate;
mod report;
mod rounds;
mod start_up;
pub(crate) mod tracer;

use crate::cargo::build;
use crate::prepare::Prepare;
use crate::privilege::{as_root, is_root};
use anyhow::{Context, Result, bail};
use rustix::process::setpriority_process;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// As `nice` counts: the lowest number is the highest priority.
const HIGHEST_PRIORITY: i32 = -20;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    prepare: Prepare,
    /// How many times each configuration is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections a load makes; each is ten state transitions
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(100..))]
    connections: u64,
    /// Requests and answers on each connection; 6 make loopback connections about as long as short
    /// real ones, 0 measures the worst case
    #[arg(long, default_value_t = 6)]
    exchanges: u32,
    /// Write the results to FILE as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure only what has WORD in its name (beside `nothing`); repeatable
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// The highest connection rate two CPUs can make, and whether `trace` to a file loses anything at it
    Rate,
    /// What it costs to keep records in each form, beside tcpstates, and how fast they are read back
    Export(export::Export),
    /// How long `now` takes for very many leaked sockets, beside ss and lsof where they are installed
    Now(now::Now),
    /// How long `clear` takes to end very many leaked sockets
    Clear(clear::Clear),
}

/// The programs to run, and a directory for what they write.
struct Programs {
    tcptrace: PathBuf,
    churn: PathBuf,
    floor: PathBuf,
    /// Requests on each connection of a load.
    exchanges: u32,
    scratch: tempfile::TempDir,
}

impl Bench {
    /// Builds, measures and prints.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        if !is_root() {
            bail!("the benchmark loads BPF programs and sets kernel.bpf_stats_enabled: run it as root");
        }
        if std::thread::available_parallelism()?.get() < 2 {
            bail!("the benchmark needs two CPUs, one for the load and one for the tracer");
        }
        self.prepare.execute()?;
        match self.what {
            Some(What::Now(now)) => return now.measure(),
            Some(What::Clear(clear)) => return clear.measure(),
            Some(What::Rate | What::Export(_)) | None => {}
        }
        let [tcptrace, churn, floor] =
            build(true, [("--bin", "tcptrace"), ("--example", "churn"), ("--example", "floor")])?;
        let scratch = tempfile::tempdir().context("cannot make a temporary directory (TMPDIR?)")?;
        let programs = Programs { tcptrace, churn, floor, exchanges: self.exchanges, scratch };
        mount_tracefs()?;
        // The load and the tracers inherit the priority, so that other processes disturb them less.
        setpriority_process(None, HIGHEST_PRIORITY).context("cannot raise the priority")?;
        match &self.what {
            Some(What::Rate) => return rate::measure(&programs, self.connections),
            Some(What::Export(export)) => {
                return export.measure(&programs, self.rounds, self.connections, &self.only);
            }
            _ => {}
        }
        let outcome = rounds::measure(&programs, self.rounds, self.connections, &self.only)?;
        let start_up = start_up::measure(&programs, self.rounds)?;
        print!("{}", report::markdown(&outcome, &start_up));
        if let Some(file) = self.json {
            let json = format!("{:#}\n", report::json(&outcome, &start_up));
            std::fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Mounts tracefs where a container has not: classic tracepoints and perf need it.
fn mount_tracefs() -> Result<()> {
    if Path::new("/sys/kernel/tracing/events").is_dir() {
        return Ok(());
    }
    let status = as_root("mount")?.args(["-t", "tracefs", "tracefs", "/sys/kernel/tracing"]).status()?;
    if !status.success() {
        bail!("cannot mount tracefs on /sys/kernel/tracing: see mount's message above");
    }
    Ok(())
}

/// The middle value, the lower one of two.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}
