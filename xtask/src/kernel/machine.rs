//! The virtual machine: boots the guest, shows its console, and reads the verdict from there.

use super::guest::VERDICT;
use anyhow::{Context, Result};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Runs the guest to its end, and returns whether its tests passed.
pub(crate) fn run(kernel: &Path, image: &Path) -> Result<ExitCode> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "4G", "-no-reboot"]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1"]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
    let mut child =
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run qemu-system-x86_64")?;
    let console = BufReader::new(child.stdout.take().context("the guest's console")?);
    let mut verdict = None;
    for line in console.split(b'\n') {
        let line = line.context("cannot read the guest's console")?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        match line.split_once(VERDICT) {
            Some((_, code)) => verdict = Some(code.trim() == "0"),
            None => println!("{line}"),
        }
    }
    child.wait()?;
    let passed = verdict.context("the guest ended before its tests did: see its messages above")?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
