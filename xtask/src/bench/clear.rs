//! `cargo xtask bench clear`: measures how long `tcptrace clear` takes to end very many leaked sockets, by
//! both methods. It ends only the sockets of its own leaking processes, which it selects by pid.

use super::leaking::Leaking;
use super::now::spread;
use crate::cargo::build;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, from_slice};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The goal: ending them takes less than this.
const GOAL_MILLISECONDS: f64 = 2000.0;

/// Arguments of `cargo xtask bench clear`.
#[derive(clap::Args)]
pub(crate) struct Clear {
    /// How many times each way is taken
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Processes that leak
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    processes: u32,
    /// Sockets they leak together
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
}

impl Clear {
    /// Leaks sockets and ends them, by both methods in turn, and prints the times.
    pub(crate) fn measure(&self) -> Result<ExitCode> {
        let [tcptrace, leaky] = build(true, [("--bin", "tcptrace"), ("--example", "leaky")])?;
        let mut ways = ["destroy", "shutdown"].map(|method| (method, Vec::new()));
        for round in 0..self.rounds {
            eprintln!("round {} of {}", round + 1, self.rounds);
            for (method, milliseconds) in &mut ways {
                let leaking = Leaking::start(&mut Command::new(&leaky), self.processes, self.count, 0)?;
                milliseconds.push(self.time(&tcptrace, method, leaking.holders())?);
                leaking.end()?;
            }
        }
        let Self { rounds, processes, count } = self;
        println!(
            "{count} sockets in CLOSE_WAIT, leaked by {processes} processes. Medians of {rounds} interleaved rounds \
             (lowest–highest), from the start of the command to its end.\n\n| | time |\n|---|---|"
        );
        for (method, milliseconds) in &ways {
            println!("| `tcptrace clear --method {method} --yes` | {} |", spread(milliseconds, 0, " ms"));
        }
        let slowest = ways.iter().flat_map(|(_, milliseconds)| milliseconds).copied().fold(0.0, f64::max);
        let is_met = if slowest < GOAL_MILLISECONDS { "met" } else { "missed" };
        println!("\nGoal, for the slowest of all: under {GOAL_MILLISECONDS:.0} ms: {is_met}.");
        Ok(ExitCode::SUCCESS)
    }

    /// Ends everything that these processes hold, and returns how long that took.
    fn time(&self, tcptrace: &Path, method: &str, holders: &[u32]) -> Result<f64> {
        let mut command = Command::new(tcptrace);
        command.args(["clear", "--yes", "--older-than", "0s", "--format", "jsonl", "--method", method]);
        command.args(holders.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]));
        let started = Instant::now();
        let output = command.output().context("cannot run tcptrace")?;
        let elapsed = started.elapsed();
        let last = output.stdout.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let summary: Value = from_slice(last).context("tcptrace clear printed no summary")?;
        let gone = &summary["outcomes"]["gone"];
        ensure!(*gone == self.count, "{gone} of {} sockets are gone: {summary}", self.count);
        Ok(elapsed.as_secs_f64() * 1e3)
    }
}
