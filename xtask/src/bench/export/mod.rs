//! `cargo xtask bench export`: measures what it costs to keep the records of `trace` in each form, beside tcpstates
//! writing its text, and how fast a long recording is read back. Says whether the goals were met.

mod reading;

use super::configuration::{self, Absent, Configuration, Loss};
use super::tracer::{self, Tracer};
use super::{Programs, load, median};
use crate::privilege::has_program;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

/// Longer than a record waits before it is written.
const FLUSHED: Duration = Duration::from_millis(1_200);

/// Connections before a measurement, to warm up.
const WARM_UP: u64 = 2_000;

/// Arguments of `cargo xtask bench export`.
#[derive(clap::Args)]
pub(crate) struct Export {
    /// Transitions in the recording that is read back; 0 leaves that out
    #[arg(long, default_value_t = 10_000_000)]
    reading: u64,
}

/// One way to keep records.
struct Way {
    configuration: Configuration,
    /// The file they are in.
    output: PathBuf,
    rounds: Vec<Kept>,
}

/// What a way cost in one round.
struct Kept {
    /// The collector's own CPU time for a record that it kept, in nanoseconds.
    cpu_nanoseconds: f64,
    /// Bytes in the output for a record.
    bytes: f64,
    /// Records of the load that it did not keep.
    missing: i64,
}

impl Export {
    /// Measures and prints.
    pub(crate) fn measure(
        &self,
        programs: &Programs,
        rounds: u32,
        connections: u64,
        only: &[String],
    ) -> Result<ExitCode> {
        let (mut ways, absent) = ways(programs);
        ways.retain(|way| way.configuration.is_among(only));
        for round in 0..rounds as usize {
            eprintln!("round {} of {rounds}", round + 1);
            for turn in 0..ways.len() {
                // Each round begins with another way, so that none always follows the same one.
                let which = (turn + round) % ways.len();
                if let Some(way) = ways.get_mut(which) {
                    let kept =
                        way.keep(programs, connections).with_context(|| way.configuration.name.clone())?;
                    way.rounds.push(kept);
                }
            }
        }
        print(&ways, &absent, rounds, connections, programs.exchanges);
        if self.reading > 0 {
            reading::measure(programs, self.reading)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Way {
    /// Runs one load beside one collector.
    fn keep(&self, programs: &Programs, connections: u64) -> Result<Kept> {
        let Self { configuration, output, rounds: _ } = self;
        let tracer = Tracer::start(configuration, programs.scratch.path())?;
        load::run(programs, WARM_UP)?;
        settle(&tracer);
        let cpu_before = tracer.cpu_nanoseconds();
        let load = load::run(programs, connections)?;
        settle(&tracer);
        let cpu = tracer.cpu_nanoseconds() - cpu_before;
        tracer.end(configuration)?;
        let expected = connections * load::TRANSITIONS;
        let (kept, all) = match &configuration.records {
            Some(_) => self.read_back(programs, load.port)?,
            None => lines(output, load.port)?,
        };
        let bytes = fs::metadata(output).with_context(|| format!("cannot read {}", output.display()))?.len();
        fs::remove_file(output).with_context(|| format!("cannot remove {}", output.display()))?;
        Ok(Kept {
            cpu_nanoseconds: cpu as f64 / kept.max(1) as f64,
            bytes: bytes as f64 / all.max(1) as f64,
            missing: i64::try_from(expected)? - i64::try_from(kept)?,
        })
    }

    /// Replays our own file as JSON Lines: its records of the load, and all its records.
    fn read_back(&self, programs: &Programs, port: u64) -> Result<(u64, u64)> {
        let copy = programs.scratch.path().join("read-back.jsonl");
        let status = Command::new(&programs.tcptrace)
            .args(["trace", "-q", "--replay"])
            .arg(&self.output)
            .arg("-o")
            .arg(&copy)
            .status()
            .context("cannot read back what was kept")?;
        if !status.success() {
            bail!("what was kept cannot be read back ({status}): the message is above");
        }
        let (_, all) = lines(&copy, port)?;
        let kept = tracer::transitions(&copy, port)?;
        fs::remove_file(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
        Ok((kept, all))
    }

    fn median(&self, value: impl Fn(&Kept) -> f64) -> f64 {
        median(&self.rounds.iter().map(value).collect::<Vec<_>>()).unwrap_or_default()
    }
}

/// tcptrace in each form, and tcpstates where it is installed.
fn ways(programs: &Programs) -> (Vec<Way>, Vec<Absent>) {
    let scratch = programs.scratch.path();
    let forms = ["jsonl", "tct", "tct.zst", "jsonl.zst", "csv"];
    let mut ways: Vec<Way> = forms
        .into_iter()
        .map(|form| {
            let output = scratch.join(format!("kept.{form}"));
            let arguments = ["trace", "-q", "-o", &output.display().to_string()].map(String::from).to_vec();
            let configuration = Configuration {
                name: format!("tcptrace trace -o x.{form}"),
                arguments,
                // A table cannot be replayed; it has one line for each record, as the other tools' output.
                records: (form != "csv").then(|| output.clone()),
                loss: Loss::Nowhere,
                ..configuration::tcptrace(programs, "trace", "btf")
            };
            Way { configuration, output, rounds: Vec::new() }
        })
        .collect();
    let mut absent = Vec::new();
    if has_program("tcpstates") {
        let configuration = Configuration {
            name: "tcpstates".into(),
            program: "tcpstates".into(),
            arguments: Vec::new(),
            signal: Signal::INT,
            records: None,
            loss: Loss::Complaint,
            every_transition: false,
        };
        ways.push(Way { configuration, output: tracer::output(scratch), rounds: Vec::new() });
    } else {
        absent.push(Absent { name: "tcpstates", package: "libbpf-tools" });
    }
    (ways, absent)
}

/// Waits until the records that --flush holds back are written too.
fn settle(tracer: &Tracer) {
    sleep(FLUSHED);
    tracer.settle();
}

/// The number of lines with this port as a word, without those about the listener itself, and of all lines.
fn lines(output: &Path, port: u64) -> Result<(u64, u64)> {
    let file = File::open(output).with_context(|| format!("cannot read {}", output.display()))?;
    let port = port.to_string();
    let (mut of_port, mut all) = (0, 0);
    for line in BufReader::new(file).split(b'\n') {
        let line = line.with_context(|| format!("cannot read {}", output.display()))?;
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split([' ', ',', '\t']);
        let of_listener = line.contains("LISTEN") && !line.contains("SYN_RECV");
        of_port += u64::from(!of_listener && words.any(|word| word == port));
        all += 1;
    }
    Ok((of_port, all))
}

fn print(ways: &[Way], absent: &[Absent], rounds: u32, connections: u64, exchanges: u32) {
    println!(
        "Linux {}. Load: {connections} connections a run, 10 transitions and {exchanges} requests each.\n\
         Medians of {rounds} interleaved rounds (lowest–highest); the load on CPU 0, the collector on CPU 1.\n\n\
         | | collector CPU a record | bytes a record | missing |\n|---|---|---|---|",
        fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    );
    for way in ways {
        let values = |value: fn(&Kept) -> f64| way.rounds.iter().map(value).collect::<Vec<_>>();
        let missing: i64 = way.rounds.iter().map(|kept| kept.missing).sum();
        println!(
            "| `{}` | {} | {} | {missing} |",
            way.configuration.name,
            super::now::spread(&values(|kept| kept.cpu_nanoseconds), 0, " ns"),
            super::now::spread(&values(|kept| kept.bytes), 1, ""),
        );
    }
    for Absent { name, package } in absent {
        println!("| `{name}` | not installed here (Debian: {package}) | | |");
    }
    let cost = |name: &str| {
        let way = ways.iter().find(|way| way.configuration.name.ends_with(name))?;
        Some((way.median(|kept| kept.cpu_nanoseconds), way.median(|kept| kept.bytes)))
    };
    let (Some(jsonl), Some(tct), Some(tct_zst)) = (cost("x.jsonl"), cost("x.tct"), cost("x.tct.zst")) else {
        return;
    };
    let met = |is_met: bool| if is_met { "met" } else { "missed" };
    println!(
        "\nGoals: .jsonl costs less than tcpstates: {}; .tct at least 5 times smaller than .jsonl: ×{:.1}, {}; \
         .tct at least 3 times cheaper to write: ×{:.2}, {}; .tct.zst under 12 bytes a transition: {:.1}, {}.",
        cost("tcpstates").map_or("not measured", |tcpstates| met(jsonl.0 < tcpstates.0)),
        jsonl.1 / tct.1,
        met(jsonl.1 >= 5.0 * tct.1),
        jsonl.0 / tct.0,
        met(jsonl.0 >= 3.0 * tct.0),
        tct_zst.1,
        met(tct_zst.1 < 12.0),
    );
}
