//! What a session costs that goes on and on: memory under load, and nothing when nothing happens.

use super::account::{Account, grouped};
use super::ground::{Ground, remove};
use super::load;
use super::namespace::Netns;
use super::row::Row;
use super::session::{LIMIT, Session};
use crate::bench::memory;
use anyhow::{Context, Result, anyhow, ensure};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 2] = [
    Row {
        name: "churn for an hour",
        promise: "resident memory of `trace` and of `leaks` in the last third is at most 4 MB above the highest of the \
                  second; read + lost = made",
        run: churn,
    },
    Row { name: "`leaks` idle", promise: "less than 0.3 % of a processor, and no memory gained", run: idle },
];

const MOST_GAIN: u64 = 4_000_000;

/// CPU time of a second in which nothing happens, in nanoseconds.
const MOST_IDLE_NS: u64 = 3_000_000;

fn churn(ground: &Ground) -> Result<String> {
    let seconds = u64::from(ground.times(90, 3_600));
    let netns = Netns::new()?;
    let folder = ground.folder()?;
    let mut sessions = Vec::new();
    for command in ["trace", "leaks"] {
        let file = folder.join(format!("{command}.tct"));
        let mut tool = ground.tool([command, "--netns", &netns.inode()?, "-o"]);
        sessions.push((Session::attached(ground, tool.arg(&file), &file)?, file));
    }
    let pids: Vec<u32> = sessions.iter().map(|(session, _)| session.pid()).collect();
    let (made, samples) = thread::scope(|scope| -> Result<_> {
        let loads = scope.spawn(|| load::run_for(ground, &netns, Duration::from_secs(seconds)));
        let mut samples = vec![Vec::new(); pids.len()];
        while !loads.is_finished() {
            for (pid, samples) in pids.iter().zip(&mut samples) {
                samples.push(memory::resident(*pid).context("a session has ended")?);
            }
            thread::sleep(Duration::from_millis(200));
        }
        let made = loads.join().map_err(|_| anyhow!("a load panicked"))??;
        Ok((made.transitions(), samples))
    })?;
    let mut words = Vec::new();
    for ((session, file), samples) in sessions.into_iter().zip(samples) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let third = samples.len() / 3;
        let highest = |from: usize, to: usize| samples.get(from..to)?.iter().max().copied();
        let (second, last) = highest(third, 2 * third)
            .zip(highest(2 * third, samples.len()))
            .context("too few samples of memory")?;
        ensure!(
            last <= second + MOST_GAIN,
            "{name} grows: {:.1} MB in the second third, {:.1} MB in the last",
            second as f64 / 1e6,
            last as f64 / 1e6
        );
        let ended = session.stop_within(LIMIT * 2)?;
        if name == "trace" {
            let account = Account::of(ground, &file)?;
            let missing = account.adds_up(made)?;
            words.push(account.words(made, missing));
        } else {
            ended.expect(0)?;
        }
        words.push(format!("{name} {:.1} MB, then {:.1} MB", second as f64 / 1e6, last as f64 / 1e6));
    }
    remove(&folder)?;
    Ok(format!("{seconds} s, {} transitions: {}", grouped(made), words.join("; ")))
}

fn idle(ground: &Ground) -> Result<String> {
    let netns = Netns::new()?;
    let folder = ground.folder()?;
    let file: PathBuf = folder.join("x.jsonl");
    let mut tool = ground.tool(["leaks", "--netns", &netns.inode()?, "-o"]);
    let session = Session::attached(ground, tool.arg(&file).stdout(Stdio::null()), &file)?;
    // What it does at the start is not idling.
    thread::sleep(Duration::from_secs(5));
    let (before, resident) =
        (cpu_ns(session.pid())?, memory::resident(session.pid()).context("it has ended")?);
    let began = Instant::now();
    thread::sleep(Duration::from_secs(u64::from(ground.times(20, 300))));
    let spent = cpu_ns(session.pid())? - before;
    let a_second = spent * 1_000 / u64::try_from(began.elapsed().as_millis())?;
    let gained = memory::resident(session.pid()).context("it has ended")?.saturating_sub(resident);
    session.stop()?.expect(0)?;
    remove(&folder)?;
    ensure!(a_second < MOST_IDLE_NS, "{} µs of CPU a second", a_second / 1_000);
    ensure!(gained < 1_000_000, "it gained {} kB", gained / 1_000);
    Ok(format!(
        "{} µs of CPU a second ({:.3} %), {:.1} MB resident, {} kB gained",
        a_second / 1_000,
        a_second as f64 / 1e7,
        resident as f64 / 1e6,
        gained / 1_000
    ))
}

/// CPU time of all threads so far.
fn cpu_ns(pid: u32) -> Result<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context("it has ended")?;
    let times = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|schedstat| schedstat.split(' ').next()?.parse::<u64>().ok());
    Ok(times.sum())
}
