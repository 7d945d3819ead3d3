//! The reader of the ring does not get to run, or the tables are too small: what is lost is counted, each cause apart.

use super::account::Account;
use super::ground::{Ground, remove};
use super::load;
use super::namespace::Netns;
use super::row::Row;
use super::session::{LIMIT, Session};
use crate::bench::leaking::Leaking;
use crate::bench::tracer::last_line;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::fs;
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 5] = [
    Row {
        name: "collector stopped for 10 s",
        promise: "read + lost = made, under all connections that the machine can make",
        run: |ground| stopped(ground, 10, None),
    },
    Row {
        name: "collector stopped for 25 s",
        promise: "read + lost = made, under all connections that the machine can make",
        run: |ground| stopped(ground, 25, None),
    },
    Row {
        name: "collector stopped for 25 s, ring of 1 GiB, ended at once",
        promise: "read + lost = made: what waits in the ring is read before the end",
        run: |ground| stopped(ground, 25, Some("1G")),
    },
    Row {
        name: "smallest ring",
        promise: "read + lost = made, with --ring-size 64K and a collector that runs",
        run: smallest_ring,
    },
    Row {
        name: "--max-sockets 1000 reached, 36,000 stuck",
        promise: "followed + evicted = 36,000, with both backends; a warning, totals that say \"at least\", exit code 4",
        run: most_sockets,
    },
];

/// How many sockets get stuck, of how many processes, and how many are followed.
const STUCK: u32 = 36_000;
const PROCESSES: u32 = 300;
const FOLLOWED: u64 = 1_000;

/// A collector that is stopped, as by Ctrl-Z or a frozen cgroup, and told to end as soon as it goes on.
fn stopped(ground: &Ground, seconds: u64, ring: Option<&str>) -> Result<String> {
    let netns = Netns::new()?;
    let folder = ground.folder()?;
    let file = folder.join("x.tct");
    let mut command = ground.tool(["trace", "--netns", &netns.inode()?, "-o"]);
    command.arg(&file);
    command.args(ring.into_iter().flat_map(|bytes| ["--ring-size", bytes]));
    let session = Session::attached(ground, &mut command, &file)?;
    session.signal(Signal::STOP)?;
    let made = load::run_for(ground, &netns, Duration::from_secs(seconds))?.transitions();
    session.signal(Signal::CONT)?;
    session.signal(Signal::INT)?;
    // It may take a minute to read the ring to its end.
    let ended = session.end(LIMIT * 2)?;
    let account = Account::of(ground, &file)?;
    let missing = account.adds_up(made)?;
    // More than one in a thousand lost is an answer that is not all.
    ended.expect(if account.lost * 1_000 > made { 4 } else { 0 })?;
    remove(&folder)?;
    Ok(format!(
        "{}; ended in {:.1} s, {}",
        account.words(made, missing),
        ended.took.as_secs_f64(),
        ended.how()
    ))
}

fn smallest_ring(ground: &Ground) -> Result<String> {
    let netns = Netns::new()?;
    let folder = ground.folder()?;
    let file = folder.join("x.tct");
    let mut command = ground.tool(["trace", "--netns", &netns.inode()?, "--ring-size", "64K", "-o"]);
    let session = Session::attached(ground, command.arg(&file), &file)?;
    let made = load::run_for(ground, &netns, Duration::from_secs(5))?.transitions();
    let ended = session.stop()?;
    let account = Account::of(ground, &file)?;
    let missing = account.adds_up(made)?;
    ensure!(account.found > 0, "nothing was read");
    ended.expect(if account.lost * 1_000 > made { 4 } else { 0 })?;
    remove(&folder)?;
    Ok(format!("{}; {}", account.words(made, missing), ended.how()))
}

fn most_sockets(ground: &Ground) -> Result<String> {
    let mut figures = Vec::new();
    for backend in ["btf", "tracepoint"] {
        let netns = Netns::new()?;
        let folder = ground.folder()?;
        let (file, text) = (folder.join("x.jsonl"), folder.join("x.txt"));
        let mut command = ground.tool(["leaks", "--older-than", "0s", "--backend", backend, "--netns"]);
        command.arg(netns.inode()?).args(["--max-sockets", &FOLLOWED.to_string()]);
        command.arg("-o").arg(&file).arg("-o").arg(&text);
        let session = Session::attached(ground, &mut command, &file)?;
        let leaking = Leaking::start(&mut netns.command(&ground.leaky), PROCESSES, STUCK, 0)?;
        let ended = session.stop()?;
        leaking.end()?;
        ended.expect(4).context(backend)?;
        ensure!(ended.messages.contains("--max-sockets"), "{backend}: no warning: {}", ended.messages);
        let text = fs::read_to_string(&text)?;
        let last = text.trim_end().lines().last().unwrap_or_default();
        ensure!(last.contains("At least"), "{backend}: the total does not say \"at least\": {last}");
        let summary = last_line(&file)?;
        let counter = |name: &str| summary[name].as_u64().unwrap_or(0);
        let (evicted, lost) = (counter("evicted"), counter("lost"));
        let followed = counter("in_close_wait");
        ensure!(
            followed + evicted == u64::from(STUCK),
            "{backend}: {followed} followed and {evicted} evicted, {lost} lost: {summary}"
        );
        remove(&folder)?;
        figures.push(format!("{backend}: {followed} followed + {evicted} evicted"));
    }
    Ok(figures.join("; "))
}
