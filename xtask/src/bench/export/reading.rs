//! Measures how fast a long recording is read back and how much memory that takes: by `report`, and by a replay whose
//! output is discarded. Checks no output.

use super::super::tracer::Tracer;
use super::super::{Programs, configuration, load, memory};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often memory is read.
const STEP: Duration = Duration::from_millis(2);

/// Records a session of about this many transitions, and measures how it is read.
pub(crate) fn measure(programs: &Programs, transitions: u64) -> Result<()> {
    let recording = programs.scratch.path().join("long.tct");
    record(programs, &recording, transitions)?;
    let path = recording.display().to_string();
    println!(
        "\n| a recording of {transitions} transitions | time | a second | peak memory |\n|---|---|---|---|"
    );
    let replay = ["trace", "-q", "--replay", &path, "--format", "tct", "-o", "/dev/null"];
    for (name, arguments) in [("trace --replay, as .tct", &replay[..]), ("report", &["report", &path])] {
        if name == "report" && !has_report(programs) {
            println!("| report | not there yet | | |");
            continue;
        }
        let (seconds, memory) = run(programs, arguments)?;
        let (rate, memory) = (transitions as f64 / seconds / 1e6, memory as f64 / 1e6);
        println!("| {name} | {seconds:.2} s | {rate:.2} million | {memory:.1} MB |");
    }
    Ok(())
}

fn record(programs: &Programs, recording: &Path, transitions: u64) -> Result<()> {
    eprintln!("recording {transitions} transitions");
    let arguments = ["trace", "-q", "-o", &recording.display().to_string()].map(String::from).to_vec();
    let configuration = configuration::Configuration {
        arguments,
        records: None,
        loss: configuration::Loss::Nowhere,
        ..configuration::tcptrace(programs, "trace", "btf")
    };
    let tracer = Tracer::start(&configuration, programs.scratch.path())?;
    load::run(programs, transitions / load::TRANSITIONS)?;
    tracer.settle();
    tracer.end(&configuration)?;
    Ok(())
}

/// Whether this tcptrace has a command of this name.
fn has_report(programs: &Programs) -> bool {
    let help = Command::new(&programs.tcptrace).args(["report", "--help"]).output();
    help.is_ok_and(|help| help.status.success())
}

/// How many seconds it took, and its peak memory.
fn run(programs: &Programs, arguments: &[&str]) -> Result<(f64, u64)> {
    let answer = File::create(programs.scratch.path().join("answer")).context("cannot write an answer")?;
    let started = Instant::now();
    let mut child = Command::new(&programs.tcptrace)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(answer)
        .spawn()
        .context("cannot run tcptrace")?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(memory::peak(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        sleep(STEP);
    };
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        bail!("`tcptrace {}` failed ({status}): its message is above", arguments.join(" "));
    }
    Ok((seconds, peak))
}
