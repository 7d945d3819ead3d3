//! Runs a tracer: starts it on its CPU, waits until it is attached, watches it, and ends it.
//!
//! It sees a tracer only from outside, through /proc and its files, so that it treats all alike.

use super::configuration::{Configuration, Loss};
use super::memory;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The tracer's CPU; the load has another.
const CPU: usize = 1;
const STEP: Duration = Duration::from_millis(20);
const TRACER_TIMEOUT: Duration = Duration::from_secs(30);

/// A tracer that is attached. Dropping it kills it.
pub(crate) struct Tracer {
    child: Child,
    errors: std::path::PathBuf,
}

impl Tracer {
    /// Starts it on CPU 1 and returns once it is attached.
    pub(crate) fn start(configuration: &Configuration, scratch: &Path) -> Result<Self> {
        on_cpu(CPU, || Self::start_anywhere(configuration, scratch))?
    }

    /// As `start`, on any CPU.
    pub(crate) fn start_anywhere(configuration: &Configuration, scratch: &Path) -> Result<Self> {
        let errors = scratch.join("tracer.err");
        let output = File::create(output(scratch)).context("cannot write what a tracer prints")?;
        let mut command = Command::new(&configuration.program);
        command.args(&configuration.arguments).stdin(Stdio::null()).stdout(output);
        command.stderr(File::create(&errors).context("cannot write what a tracer complains of")?);
        let child =
            command.spawn().with_context(|| format!("cannot run {}", configuration.program.display()))?;
        let mut tracer = Self { child, errors };
        let until = Instant::now() + TRACER_TIMEOUT;
        while !is_attached(tracer.pid()) {
            if let Some(status) = tracer.child.try_wait()? {
                bail!("it ended at once ({status}): {}", tracer.complaint());
            }
            if Instant::now() > until {
                bail!("not attached after {} s: {}", TRACER_TIMEOUT.as_secs(), tracer.complaint());
            }
            sleep(STEP);
        }
        tracer.settle();
        Ok(tracer)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads so far, in nanoseconds: from `schedstat`, because `times(2)` counts in
    /// steps of 10 ms.
    pub(crate) fn cpu_nanoseconds(&self) -> u64 {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid())) else { return 0 };
        threads
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
            .filter_map(|schedstat| schedstat.split(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Its peak resident memory, in bytes.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        memory::peak(self.pid())
    }

    /// Returns once it is idle: it takes less than 1 % of a CPU over a while.
    pub(crate) fn settle(&self) {
        let while_long = Duration::from_millis(200);
        let until = Instant::now() + TRACER_TIMEOUT;
        let mut before = self.cpu_nanoseconds();
        while Instant::now() < until {
            sleep(while_long);
            let now = self.cpu_nanoseconds();
            if u128::from(now - before) * 100 < while_long.as_nanos() {
                return;
            }
            before = now;
        }
    }

    /// Ends it, waits, and returns how many records it says it lost, where it says so.
    pub(crate) fn end(mut self, configuration: &Configuration) -> Result<Option<u64>> {
        let pid =
            i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a process without a pid")?;
        kill_process(pid, configuration.signal).context("cannot signal the tracer")?;
        let status = self.wait()?;
        match (configuration.loss, &configuration.records) {
            (Loss::Complaint, _) => Ok(Some(complained_loss(&self.complaint()))),
            (Loss::Summary, Some(records)) => {
                if !status.success() {
                    bail!("it ended with {status}: {}", self.complaint());
                }
                let summary = last_line(records)?;
                if summary["type"] != "summary" {
                    bail!("{} does not end with a summary", records.display());
                }
                Ok(summary["lost"].as_u64())
            }
            _ => Ok(None),
        }
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let until = Instant::now() + TRACER_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!(
                    "still there {} s after being asked to end: {}",
                    TRACER_TIMEOUT.as_secs(),
                    self.complaint()
                );
            }
            sleep(STEP);
        }
    }

    fn complaint(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file with a tracer's output.
pub(crate) fn output(scratch: &Path) -> std::path::PathBuf {
    scratch.join("tracer.out")
}

/// How many lines of a file are transitions of the connections to `port`, without the listener's own.
pub(crate) fn transitions(records: &Path, port: u64) -> Result<u64> {
    let file = File::open(records).with_context(|| format!("cannot read {}", records.display()))?;
    let ports = [format!("\"lport\":{port},"), format!("\"rport\":{port},")];
    let mut count = 0;
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("cannot read {}", records.display()))?;
        let of_listener = line.contains("\"new_state\":\"LISTEN\"")
            || line.contains("\"old_state\":\"LISTEN\"") && line.contains("\"new_state\":\"CLOSE\"");
        let counts = line.contains("\"type\":\"transition\"")
            && ports.iter().any(|port| line.contains(port))
            && !of_listener;
        count += u64::from(counts);
    }
    Ok(count)
}

/// Runs `action` while this thread, and what it starts, may run on `cpu` only.
fn on_cpu<T>(cpu: usize, action: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(None).context("cannot read the CPU affinity")?;
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("cannot run on CPU {cpu}"))?;
    let result = action();
    sched_setaffinity(None, &before).context("cannot restore the CPU affinity")?;
    Ok(result)
}

/// Whether the process holds an attached BPF program or a perf event.
pub(crate) fn is_attached(pid: u32) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok()).any(|target| {
        let target = target.to_string_lossy();
        target.contains("bpf_link") || target.contains("bpf-link") || target.contains("[perf_event]")
    })
}

/// The last line, which is the summary. Does not read the hundreds of megabytes before it.
pub(crate) fn last_line(records: &Path) -> Result<Value> {
    const LONGEST: u64 = 1 << 20;
    let doing = || format!("cannot read the last line of {}", records.display());
    let mut file = File::open(records).with_context(doing)?;
    let length = file.metadata().with_context(doing)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST))).with_context(doing)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).with_context(doing)?;
    let line = text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).with_context(doing)
}

/// The sum of the numbers after the word "lost", as any of the other tools spells it; 0 where they say nothing.
fn complained_loss(complaint: &str) -> u64 {
    let losses = complaint.lines().filter_map(|line| {
        let lower = line.to_lowercase();
        let (_, after) = lower.split_once("lost ")?;
        after.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse::<u64>().ok()
    });
    losses.sum()
}
