//! The virtual machine: boots the guest, shows its console, and reads the verdict from there.

use super::guest::VERDICT;
use super::variant::Variant;
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

/// Runs the guest to its end, or for `limit` at most. Keeps what follows `marker` on its console.
pub(crate) fn run(
    kernel: &Path,
    image: &Path,
    variant: Variant,
    limit: Duration,
    marker: &str,
) -> Result<Ended> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "4G", "-no-reboot"]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
    qemu.args(["-append", &format!("console=ttyS0 quiet panic=-1 {}", variant.parameter())]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
    let mut child =
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run qemu-system-x86_64")?;
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
