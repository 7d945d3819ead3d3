//! Signals at random moments, also before the tool is ready for them; and what is left of sessions that are killed.

use super::bpf_objects::Objects;
use super::ground::{Ground, remove, until};
use super::namespace::Netns;
use super::random::Random;
use super::row::Row;
use super::session::Session;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 2] = [
    Row {
        name: "SIGINT, SIGTERM and SIGHUP at random moments",
        promise: "each ends a session within 5 s, by the signal where it came before the session began, else with exit \
                  code 0 and a summary; SIGHUP leaves one that has a file alone",
        run: at_random,
    },
    Row {
        name: "starts and stops, half of them killed",
        promise: "no BPF map, program or link is left, and no file but the outputs",
        run: starts_and_stops,
    },
];

/// The last moment of a signal after the start: a session begins after about a tenth of that.
const LATEST_US: u64 = 400_000;

const LONGEST: Duration = Duration::from_secs(5);

fn at_random(ground: &Ground) -> Result<String> {
    let folder = ground.folder()?;
    let netns = Netns::new()?;
    let inode = netns.inode()?;
    let mut random = Random::new(17);
    let mut ends = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    let times = ground.times(150, 1_000);
    for time in 0..times {
        let signal = [Signal::INT, Signal::TERM, Signal::HUP][random.index(3)];
        let command = ["leaks", "trace"][random.index(2)];
        let path = folder.join(format!("{time}.jsonl"));
        // Without a file SIGHUP ends a session.
        let has_file = signal != Signal::HUP || random.below(4) == 0;
        let mut tool = heeding(ground, &[command, "--netns", &inode]);
        if has_file {
            tool.arg("-o").arg(&path);
        }
        let mut session = start(ground, &mut tool)?;
        let delay = Duration::from_micros(random.below(LATEST_US));
        sleep(delay);
        session.signal(signal)?;
        let about = format!("{signal:?} to {command} after {} ms", delay.as_millis());
        if signal == Signal::HUP && has_file {
            // Either it came before the session began, or the session goes on.
            sleep(Duration::from_millis(100));
            if session.child.try_wait()?.is_none() {
                session.wait_until_attached(&path)?;
                session.signal(Signal::INT)?;
            }
        }
        let ended = session.end(LONGEST).with_context(|| about.clone())?;
        slowest = slowest.max(ended.took);
        match (ended.code, ended.signal) {
            (Some(0), None) => {
                ensure!(
                    !has_file || has_summary(&path),
                    "{about}: code 0 and no summary: {}",
                    ended.messages
                );
            }
            (None, Some(number)) if number == signal.as_raw() => {}
            _ => bail!("{about}: it ended with {}: {}", ended.how(), ended.messages),
        }
        *ends.entry(ended.how()).or_insert(0_u32) += 1;
    }
    remove(&folder)?;
    let ends: Vec<String> = ends.iter().map(|(how, times)| format!("{how} × {times}")).collect();
    Ok(format!("{times} signals: {}; the slowest end took {} ms", ends.join(", "), slowest.as_millis()))
}

/// The tool with these arguments, none of the signals ignored: whoever runs this in the background or by nohup has it ignore
/// some, and the tool would inherit that.
fn heeding(ground: &Ground, words: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,TERM").arg(&ground.tcptrace).args(words);
    command
}

/// Starts it, and returns once env(1) has become the tool.
fn start(ground: &Ground, command: &mut Command) -> Result<Session> {
    let mut session = Session::start(ground, command.stdout(Stdio::null()))?;
    let program = format!("/proc/{}/exe", session.pid());
    // Without a pause: the first millisecond counts.
    while fs::read_link(&program).ok().as_ref() != Some(&ground.tcptrace) {
        if let Some(status) = session.child.try_wait()? {
            bail!("it ended with {status} before it was the tool: {}", session.messages().trim());
        }
    }
    Ok(session)
}

fn has_summary(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.contains("\"type\":\"summary\""))
}

fn starts_and_stops(ground: &Ground) -> Result<String> {
    let folder = ground.folder()?;
    let netns = Netns::new()?;
    let inode = netns.inode()?;
    let mut random = Random::new(23);
    let before = Objects::now(ground)?;
    let times = ground.times(100, 1_000);
    let mut killed = 0;
    for time in 0..times {
        let command = ["leaks", "trace", "time-wait"][random.index(3)];
        let form = ["jsonl", "tct", "csv.zst"][random.index(3)];
        // That command has no other records.
        let form = if command == "time-wait" { "jsonl" } else { form };
        let path = folder.join(format!("x.{form}"));
        let mut tool = heeding(ground, &[command, "--netns", &inode, "-o"]);
        tool.arg(&path).args((command == "time-wait").then_some("--watch"));
        let session = start(ground, &mut tool)?;
        sleep(Duration::from_micros(random.below(LATEST_US)));
        let signal = if time % 2 == 0 { Signal::INT } else { Signal::KILL };
        session.signal(signal)?;
        killed += u32::from(signal == Signal::KILL);
        let ended = session.end(LONGEST)?;
        let is_well = matches!((ended.code, ended.signal), (Some(0), _) | (None, Some(2 | 9)));
        ensure!(is_well, "{command}: it ended with {}: {}", ended.how(), ended.messages);
    }
    // The kernel frees objects a moment after their last user has gone.
    let mut left = Vec::new();
    until("nothing is left", Duration::from_mins(1), || {
        left = Objects::now(ground)?.left_since(&before);
        Ok(left.is_empty())
    })
    .with_context(|| format!("{} BPF objects are left: {left:?}", left.len()))?;
    let mut files: Vec<String> = fs::read_dir(&folder)?
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .filter(|name| !["x.jsonl", "x.tct", "x.csv.zst"].contains(&name.as_str()))
        .collect();
    files.sort();
    ensure!(files.is_empty(), "{} files are left: {files:?}", files.len());
    remove(&folder)?;
    Ok(format!("{times} sessions, {killed} of them killed: nothing left"))
}
