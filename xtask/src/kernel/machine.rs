//! The virtual machine: boots the guest, shows its console, and reads the verdict from there.

use super::guest::VERDICT;
use super::package::Kernel;
use super::variant::Variant;
use crate::dist::Architecture;
use anyhow::{Context, Result, bail};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a guest did.
pub(crate) struct Ended {
    /// Whether its tests passed.
    pub passed: bool,
    /// What followed `marker` on a line of its console.
    pub marked: Vec<String>,
}

/// What emulates a processor, and how.
pub(crate) struct Emulator {
    pub program: &'static str,
    /// Debian's package with it.
    pub packages: &'static [&'static str],
    machine: &'static [&'static str],
    /// The serial line, as the kernel calls it.
    console: &'static str,
}

impl Emulator {
    pub(crate) fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Amd64 => Self {
                program: "qemu-system-x86_64",
                packages: &["qemu-system-x86"],
                machine: &[],
                console: "ttyS0",
            },
            Architecture::Arm64 => Self {
                program: "qemu-system-aarch64",
                packages: &["qemu-system-arm"],
                // As servers have it: it notes by itself that a page was used. Where the kernel has to, BPF programs
                // cannot read pages of a forked process that it has not used yet.
                machine: &["-machine", "virt", "-cpu", "neoverse-n1"],
                console: "ttyAMA0",
            },
        }
    }
}

/// Runs the guest to its end, or for `limit` at most. Keeps what follows `marker` on its console.
pub(crate) fn run(
    kernel: &Kernel,
    image: &Path,
    variant: Variant,
    limit: Duration,
    marker: &str,
) -> Result<Ended> {
    let emulator = Emulator::of(kernel.architecture);
    let mut qemu = Command::new(emulator.program);
    qemu.args(emulator.machine);
    // With a thread for each processor the emulator trips now and then over code that the kernel changes while another
    // processor runs it: int3 in Linux 7.2 and 6.12.
    qemu.args(["-accel", "tcg,thread=single", "-smp", "2", "-m", "4G", "-no-reboot"]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
    let line = format!("console={} quiet panic=-1 {}", emulator.console, variant.parameter());
    qemu.arg("-append").arg(line).arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = qemu.spawn().with_context(|| format!("cannot run {}", emulator.program))?;
    let console = BufReader::new(child.stdout.take().context("the guest's console")?);
    let has_ended = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (has_ended, began) = (Arc::clone(&has_ended), Instant::now());
        thread::spawn(move || -> Result<bool> {
            while began.elapsed() < limit {
                if has_ended.load(Ordering::Relaxed) {
                    child.wait()?;
                    return Ok(false);
                }
                thread::park_timeout(limit.saturating_sub(began.elapsed()));
            }
            child.kill()?;
            child.wait()?;
            Ok(true)
        })
    };
    let (mut verdict, mut marked) = (None, Vec::new());
    for line in console.split(b'\n') {
        let line = line.context("cannot read the guest's console")?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        if let Some((_, code)) = line.split_once(VERDICT) {
            verdict = Some(code.trim() == "0");
        } else if let Some((_, rest)) = line.split_once(marker) {
            marked.push(rest.to_owned());
        } else {
            println!("{line}");
        }
    }
    has_ended.store(true, Ordering::Relaxed);
    watcher.thread().unpark();
    if matches!(watcher.join(), Ok(Ok(true))) {
        bail!("the guest was ended after {} minutes: see its messages above", limit.as_secs() / 60);
    }
    let passed = verdict.context("the guest ended before its tests did: see its messages above")?;
    Ok(Ended { passed, marked })
}
