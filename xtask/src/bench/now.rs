//! `cargo xtask bench now`: measures how long `tcptrace now` takes to name the holders of very many leaked sockets,
//! beside other tools that list sockets with their processes. The tests compare answers, this does not.

use super::leaking::Leaking;
use super::{median, memory};
use crate::cargo::{build, build_static};
use crate::privilege::has_program;
use anyhow::{Context, Result, bail};
use std::fs::{File, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The goal: `now` takes less than this, and less than ss.
const GOAL_MILLISECONDS: f64 = 300.0;

/// How often memory is read, in a run of its own that is not timed.
const STEP: Duration = Duration::from_micros(500);

/// Arguments of `cargo xtask bench now`.
#[derive(clap::Args)]
pub(crate) struct Now {
    /// How many times each tool is run
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Processes that leak
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    processes: u32,
    /// Sockets they leak together
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Descriptors of each of them that are no sockets
    #[arg(long, default_value_t = 90)]
    ballast: u32,
}

/// A tool and what was measured of it.
struct Tool {
    name: String,
    program: PathBuf,
    arguments: Vec<&'static str>,
    /// One for each round.
    milliseconds: Vec<f64>,
    peak_memory: u64,
    lines: usize,
}

impl Now {
    /// Leaks sockets, measures the tools, and prints.
    pub(crate) fn measure(&self) -> Result<ExitCode> {
        let [leaky] = build(true, [("--example", "leaky")])?;
        let tcptrace = build_static()?;
        let scratch = tempfile::tempdir().context("cannot make a temporary directory (TMPDIR?)")?;
        let (mut tools, absent) = tools(&tcptrace);
        let leaking = Leaking::start(&mut Command::new(&leaky), self.processes, self.count, self.ballast)?;
        for tool in &mut tools {
            tool.watch(&scratch.path().join("answer"))?;
        }
        for round in 0..self.rounds as usize {
            eprintln!("round {} of {}", round + 1, self.rounds);
            for turn in 0..tools.len() {
                // Each round begins with another tool, so that none always follows the same one.
                let which = (turn + round) % tools.len();
                if let Some(tool) = tools.get_mut(which) {
                    tool.time()?;
                }
            }
        }
        leaking.end()?;
        self.print(&tools, &absent);
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, tools: &[Tool], absent: &[&str]) {
        let Self { rounds, processes, count, ballast } = self;
        println!(
            "Linux {}. {count} sockets in CLOSE_WAIT, leaked by {processes} processes with {ballast} other \
             descriptors each.\nMedians of {rounds} interleaved rounds (lowest–highest), output to /dev/null.\n\n\
             | | time | × ss, round by round | peak memory | lines |\n|---|---|---|---|---|",
            read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        );
        let ss = tools.iter().find(|tool| tool.name.starts_with("ss "));
        for tool in tools {
            let ratio = match ss {
                Some(ss) if ss.name != tool.name => spread(&tool.ratios(ss), 2, ""),
                _ => "–".into(),
            };
            let time = spread(&tool.milliseconds, 1, " ms");
            let megabytes = tool.peak_memory as f64 / 1e6;
            println!("| `{}` | {time} | {ratio} | {megabytes:.1} MB | {} |", tool.name, tool.lines);
        }
        for name in absent {
            println!("| `{name}` | not installed here | | | |");
        }
        let median_of = |tool: &Tool| median(&tool.milliseconds).unwrap_or(f64::INFINITY);
        let Some(now) = tools.first().map(median_of) else { return };
        let below = if now < GOAL_MILLISECONDS { "met" } else { "missed" };
        let faster = match ss.map(median_of) {
            Some(ss) if now < ss => "met",
            Some(_) => "missed",
            None => "not measured",
        };
        println!(
            "\nGoals for the first line's median: under {GOAL_MILLISECONDS:.0} ms: {below}; less than ss: {faster}."
        );
    }
}

impl Tool {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // What they warn of is the same every time and was seen in the run that is not timed.
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// One run that is timed.
    fn time(&mut self) -> Result<()> {
        let started = Instant::now();
        let status = self.command().status().with_context(|| format!("cannot run {}", self.name))?;
        let elapsed = started.elapsed();
        if !status.success() {
            bail!("`{}` failed ({status})", self.name);
        }
        self.milliseconds.push(elapsed.as_secs_f64() * 1e3);
        Ok(())
    }

    /// One run that is not timed, whose answer and memory are looked at.
    fn watch(&mut self, answer: &Path) -> Result<()> {
        let file = File::create(answer).context("cannot write what a tool answers")?;
        let mut command = self.command();
        let mut child = command
            .stdout(file)
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot run {}", self.name))?;
        let status = loop {
            self.peak_memory = self.peak_memory.max(memory::peak(child.id()).unwrap_or(0));
            if let Some(status) = child.try_wait()? {
                break status;
            }
            sleep(STEP);
        };
        if !status.success() {
            bail!("`{}` failed ({status})", self.name);
        }
        self.lines = read_to_string(answer).context("cannot read what a tool answered")?.lines().count();
        Ok(())
    }

    /// This tool's time as a multiple of another's in the same round.
    fn ratios(&self, other: &Self) -> Vec<f64> {
        self.milliseconds.iter().zip(&other.milliseconds).map(|(own, other)| own / other).collect()
    }
}

/// What is measured, ourselves first, and the names of what is not installed.
fn tools(tcptrace: &Path) -> (Vec<Tool>, Vec<&'static str>) {
    let lines: [&'static str; 5] = [
        "tcptrace now --format jsonl",
        "tcptrace now",
        "tcptrace now --holders proc --format jsonl",
        "ss -tanpe state close-wait",
        "lsof -nP -iTCP -sTCP:CLOSE_WAIT",
    ];
    let (mut tools, mut absent) = (Vec::new(), Vec::new());
    for line in lines {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let program = if name == "tcptrace" { tcptrace.to_owned() } else { name.into() };
        if name != "tcptrace" && !has_program(name) {
            absent.push(line);
            continue;
        }
        let (name, arguments) = (line.into(), words.collect());
        tools.push(Tool { name, program, arguments, milliseconds: Vec::new(), peak_memory: 0, lines: 0 });
    }
    (tools, absent)
}

/// The median, with the lowest and the highest value.
pub(crate) fn spread(values: &[f64], digits: usize, unit: &str) -> String {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(0.0, f64::max);
    let middle = median(values).unwrap_or_default();
    format!("{middle:.digits$}{unit} ({lowest:.digits$}–{highest:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_shown_by_its_median_and_its_ends() {
        assert_eq!(spread(&[120.4, 99.0, 310.0], 0, " ms"), "120 ms (99–310)");
    }
}
