//! Hosts that are full: of network namespaces, of descriptors, of processes that come and go.

use super::account::grouped;
use super::ground::{Ground, remove, until};
use super::leak::{Leak, leaks, leaks_in, names};
use super::namespace::Netns;
use super::process::Process;
use super::row::Row;
use super::session::{LIMIT, Session};
use crate::bench::leaking::Leaking;
use crate::bench::memory;
use anyhow::{Context, Result, ensure};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 5] = [
    Row {
        name: "500 network namespaces",
        promise: "`now` and `leaks` name the leak in each within 15 s, with 256 descriptors until they ask for more",
        run: |ground| many_namespaces(ground, 500),
    },
    Row {
        name: "1,000 network namespaces",
        promise: "`now` and `leaks` name the leak in each within 15 s, with 256 descriptors until they ask for more",
        run: |ground| many_namespaces(ground, 1_000),
    },
    Row {
        name: "a process with 18,000 descriptors",
        promise: "each of its 2,000 leaks is named with its descriptor, by `now` in 2 s, from /proc too",
        run: many_descriptors,
    },
    Row {
        name: "800 short-lived leakers",
        promise: "every leak is reported once, with its process; afterwards no more files are open than before and 128 of \
                  theirs ([Limits](limits.md#what-is-bounded)), and 100 MB resident",
        run: short_lived,
    },
    Row {
        name: "a process that forks without end",
        promise: "its leak is named, nothing is lost, 64 MB resident at most, and the end takes less than 5 s",
        run: forks,
    },
];

fn many_namespaces(ground: &Ground, count: usize) -> Result<String> {
    let folder = ground.folder()?;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let mut leaked = Vec::new();
    for _ in 0..count {
        let netns = Netns::new()?;
        let leak = netns.within(Leak::new)?;
        leaked.push((netns.inode()?.parse::<u64>()?, leak, netns));
    }
    let expected: HashSet<(u64, u16)> = leaked.iter().map(|(inode, leak, _)| (*inode, leak.port)).collect();
    let own = std::process::id();
    let mut took = Vec::new();
    for command in ["now", "leaks"] {
        let path = folder.join(format!("{command}.jsonl"));
        let mut tool = Command::new("prlimit");
        // A host's usual limits are 1,024 and 524,288: it has to ask for more.
        tool.arg(format!("--nofile=256:{}", limit.maximum.unwrap_or(1 << 20))).arg(&ground.tcptrace);
        tool.arg(command).arg("-o").arg(&path).stdout(Stdio::null());
        if command == "leaks" {
            tool.args(["--older-than", "0s", "--flush", "50ms"]);
        }
        let began = Instant::now();
        let mut session = Session::start(ground, &mut tool)?;
        let named = || -> Result<usize> {
            let leaks = if path.exists() { leaks_in(&path)? } else { Vec::new() };
            let found: HashSet<(u64, u16)> = leaks
                .iter()
                .filter(|leak| names(leak, own))
                .filter_map(|leak| Some((leak["netns"].as_u64()?, leak["lport"].as_u64()?.try_into().ok()?)))
                .collect();
            Ok(found.intersection(&expected).count())
        };
        if command == "leaks" {
            session.wait_for("all are reported", || Ok(named()? == count))?;
            took.push(began.elapsed());
            session.signal(Signal::INT)?;
        } else {
            session.child.wait()?;
            took.push(began.elapsed());
        }
        let ended = session.end(LIMIT)?;
        let found = named()?;
        ensure!(found == count, "{command} names {found} of {count}: {}", ended.messages);
        ended.expect(0)?;
    }
    drop(leaked);
    setrlimit(Resource::Nofile, limit)?;
    remove(&folder)?;
    ensure!(took.iter().all(|took| *took < Duration::from_secs(15)), "it took {took:?}");
    let [now, leaks] = [0, 1].map(|at| took.get(at).map_or(0.0, Duration::as_secs_f64));
    Ok(format!("all {count} named; `now` in {now:.1} s, `leaks` in {leaks:.1} s"))
}

fn many_descriptors(ground: &Ground) -> Result<String> {
    const LEAKED: u32 = 2_000;
    const OTHERS: u32 = 16_000;
    let netns = Netns::new()?;
    let leaking = Leaking::start(&mut netns.command(&ground.leaky), 1, LEAKED, OTHERS)?;
    let mut took = Vec::new();
    for holders in ["iterator", "proc"] {
        let mut tool = ground.tool(["now", "--format", "jsonl", "--holders", holders, "--netns"]);
        let began = Instant::now();
        let output = tool.arg(netns.inode()?).output()?;
        took.push(began.elapsed().as_secs_f64());
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let leaks = leaks(&String::from_utf8_lossy(&output.stdout))?;
        let mut fds: Vec<u64> = leaks
            .iter()
            .flat_map(|leak| leak["owners"].as_array().into_iter().flatten())
            .filter(|owner| leaking.holders().iter().any(|pid| owner["pid"] == *pid))
            .flat_map(|owner| {
                owner["fds"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_u64)
            })
            .collect();
        fds.sort_unstable();
        fds.dedup();
        ensure!(fds.len() == LEAKED as usize, "{holders}: {} of {LEAKED} descriptors are named", fds.len());
    }
    leaking.end()?;
    ensure!(took.iter().all(|took| *took < 2.0), "it took {took:.2?} s");
    Ok(format!(
        "{LEAKED} of {} descriptors named; {:.2} s, from /proc {:.2} s",
        LEAKED + OTHERS,
        took[0],
        took[1]
    ))
}

/// What the tool may keep of processes that are gone, however many: files of their programs, and those of the last ones that
/// nothing has made it forget yet.
const MOST_FILES_KEPT: usize = 128 + 8;

/// In bytes: of it 24 MB are what it knows of programs.
const MOST_RESIDENT_AFTER_MANY: u64 = 100_000_000;

/// In bytes.
const MOST_RESIDENT: u64 = 64_000_000;

fn short_lived(ground: &Ground) -> Result<String> {
    let count = ground.times(160, 800) as usize;
    let netns = Netns::new()?;
    let folder = ground.folder()?;
    let path = folder.join("x.jsonl");
    let mut command = ground.tool(["leaks", "--older-than", "0s", "--flush", "50ms", "--netns"]);
    command.arg(netns.inode()?).arg("-o").arg(&path);
    let mut session = Session::attached(ground, &mut command, &path)?;
    let pid = session.pid();
    let descriptors = || anyhow::Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count());
    let before = descriptors()?;
    let mut pids = HashSet::new();
    for nth in 1..=count {
        if nth == count {
            // What is known of processes that ended longer ago is forgotten when another one leaks.
            std::thread::sleep(Duration::from_millis(1_200));
        }
        // Each runs a program of its own, with symbols, which is gone with it.
        let program = folder.join("leaker");
        fs::copy(&ground.leaky, &program).context("cannot copy a program")?;
        let leaking = Leaking::start(&mut netns.command(&program), 1, 1, 0)?;
        pids.extend(leaking.holders().iter().copied());
        fs::remove_file(&program)?;
        // It lives for as long as the tool needs to look at it, which does so every 100 ms.
        session.wait_for("its leak is reported", || {
            Ok(fs::read_to_string(&path)?.matches("{\"type\":\"leak\",").count() >= nth)
        })?;
        leaking.end()?;
    }
    let is_named = |leak: &serde_json::Value| {
        leak["owners"].as_array().into_iter().flatten().any(|owner| {
            owner["pid"]
                .as_u64()
                .and_then(|pid| u32::try_from(pid).ok())
                .is_some_and(|pid| pids.contains(&pid))
        })
    };
    let (mut open, mut resident) = (0, 0);
    // What was read for names goes after a minute.
    until("it lets go of what is gone", LIMIT * 2, || {
        open = descriptors()?;
        resident = memory::resident(pid).context("it has ended")?;
        Ok(open <= before + MOST_FILES_KEPT && resident <= MOST_RESIDENT_AFTER_MANY)
    })
    .with_context(|| {
        format!("{open} descriptors, {before} before, and {} MB resident", resident / 1_000_000)
    })?;
    let ended = session.stop()?;
    ended.expect(0)?;
    let leaks = leaks_in(&path)?;
    let cookies: HashSet<u64> = leaks.iter().filter_map(|leak| leak["cookie"].as_u64()).collect();
    ensure!(cookies.len() == leaks.len(), "{} leaks are reported twice", leaks.len() - cookies.len());
    let named = leaks.iter().filter(|leak| is_named(leak)).count();
    ensure!(named == count, "{named} of {count} are named, of {} that are reported", leaks.len());
    remove(&folder)?;
    Ok(format!(
        "{named} of {count} named; then {open} descriptors open, {before} before, and {:.0} MB resident",
        resident as f64 / 1e6
    ))
}

/// A shell that holds a leak forks children, as fast as it can, who have it too for as long as they live.
fn forks(ground: &Ground) -> Result<String> {
    let netns = Netns::new()?;
    let folder = ground.folder()?;
    let path = folder.join("x.jsonl");
    let leak = netns.within(Leak::new)?;
    fcntl_setfd(&leak.socket, FdFlags::empty())?;
    let count = folder.join("count");
    let script = "n=0; while :; do (:); n=$((n+1)); [ $((n % 100)) = 0 ] && echo $n >&3; done";
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 3>{}; {script}", count.display())]);
    let forking = Process::start(&mut shell)?;
    fcntl_setfd(&leak.socket, FdFlags::CLOEXEC)?;
    let port = leak.port;
    drop(leak);
    let mut command = ground.tool(["leaks", "--older-than", "1s", "--flush", "50ms", "--netns"]);
    command.arg(netns.inode()?).arg("-o").arg(&path);
    let mut session = Session::attached(ground, &mut command, &path)?;
    let after = session.wait_for("the leak is reported", || {
        Ok(leaks_in(&path)?.iter().any(|leak| leak["lport"] == port && names(leak, forking.pid())))
    })?;
    std::thread::sleep(Duration::from_secs(u64::from(ground.times(10, 60))));
    let resident = memory::resident(session.pid()).context("it has ended")?;
    ensure!(resident <= MOST_RESIDENT, "{} MB resident", resident / 1_000_000);
    session.signal(Signal::INT)?;
    let ended = session.end(Duration::from_secs(5))?;
    ended.expect(0)?;
    let made = last_line(&count)?;
    drop(forking);
    remove(&folder)?;
    Ok(format!(
        "named after {:.1} s, amid {} forks; {:.0} MB resident; ended in {:.1} s",
        after.as_secs_f64(),
        grouped(made.parse().unwrap_or(0)),
        resident as f64 / 1e6,
        ended.took.as_secs_f64()
    ))
}

fn last_line(path: &Path) -> Result<String> {
    let text = std::io::read_to_string(File::open(path)?)?;
    Ok(text.lines().next_back().unwrap_or_default().to_owned())
}
