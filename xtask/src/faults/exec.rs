//! Commands of `leaks --exec` that misbehave: they hold up neither the records nor the end, and do not outlive it.

use super::ground::{Ground, remove, until};
use super::leak::leaks_in;
use super::namespace::Netns;
use super::row::Row;
use super::session::{LIMIT, Session};
use crate::bench::leaking::Leaking;
use crate::bench::memory;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::collections::HashSet;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 4] = [
    Row {
        name: "--exec commands that hang",
        promise: "every leak is recorded; the end takes --exec-timeout (2 s) and 5 s more at most, and nothing is left",
        run: |ground| misbehaving(ground, "exec sleep 600"),
    },
    Row {
        name: "--exec commands that fail",
        promise: "every leak is recorded, the failures are counted, and nothing is left",
        run: |ground| misbehaving(ground, "exit 7"),
    },
    Row {
        name: "--exec commands that fork",
        promise: "every leak is recorded, what they start in the background ends with them, and nothing is left",
        run: |ground| {
            misbehaving(ground, "for i in 1 2 3 4 5 6 7 8 9; do sleep 600 & done; sleep 600 & wait")
        },
    },
    Row {
        name: "--exec commands that flood their output",
        promise: "every leak is recorded, 64 MB resident at most, and nothing is left",
        run: |ground| misbehaving(ground, "exec cat /dev/zero"),
    },
];

const LEAKS: u32 = 40;

/// What `--exec-timeout` is.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Beyond that, for the end.
const MORE: Duration = Duration::from_secs(5);

const MOST_RESIDENT: u64 = 64_000_000;

/// Marks the tool's commands, and all that they start.
const MARK: &str = "FAULTS_MARK";

fn misbehaving(ground: &Ground, script: &str) -> Result<String> {
    let netns = Netns::new()?;
    let folder = ground.folder()?;
    let path = folder.join("x.jsonl");
    let leaking = Leaking::start(&mut netns.command(&ground.leaky), 4, LEAKS, 0)?;
    let mark = folder.display().to_string();
    let mut command = ground.tool(["leaks", "--older-than", "0s", "--flush", "50ms", "--netns"]);
    command.arg(netns.inode()?).arg("-o").arg(&path).args(["--exec", script, "--exec-timeout", "2s"]);
    let mut session = Session::start(ground, command.env(MARK, &mark).stdout(Stdio::null()))?;
    let after = session.wait_for("all leaks are recorded", || {
        Ok(path.exists() && leaks_in(&path)?.len() == LEAKS as usize)
    })?;
    // Four run at once: some have come to their end by now.
    std::thread::sleep(TIMEOUT + Duration::from_secs(1));
    let resident = memory::peak(session.pid()).context("it has ended")?;
    ensure!(resident <= MOST_RESIDENT, "{} MB resident", resident / 1_000_000);
    session.signal(Signal::INT)?;
    let ended = session.end(LIMIT)?;
    ended.expect(0)?;
    ensure!(ended.took < TIMEOUT + MORE, "the end took {:.1} s", ended.took.as_secs_f64());
    let mut left = Vec::new();
    until("its commands have ended", Duration::from_secs(2), || {
        left = marked(&mark);
        Ok(left.is_empty())
    })
    .with_context(|| format!("{} processes are left: {left:?}", left.len()))?;
    let leaks = leaks_in(&path)?;
    let cookies: HashSet<u64> = leaks.iter().filter_map(|leak| leak["cookie"].as_u64()).collect();
    ensure!(cookies.len() == LEAKS as usize, "{} of {LEAKS} leaks are recorded", cookies.len());
    let counts = ended.messages.lines().rfind(|line| line.contains("--exec: ")).unwrap_or_default();
    ensure!(counts.contains("commands"), "commands are not counted: {}", ended.messages);
    leaking.end()?;
    remove(&folder)?;
    let counts = counts.rsplit("--exec: ").next().unwrap_or_default();
    Ok(format!(
        "{LEAKS} leaks recorded after {:.1} s; {counts}; {:.0} MB; ended in {:.1} s",
        after.as_secs_f64(),
        resident as f64 / 1e6,
        ended.took.as_secs_f64()
    ))
}

/// The processes that have this mark in their environment.
fn marked(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
