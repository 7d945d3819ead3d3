//! The tool is killed, at random moments, while it writes every form.

use super::ground::{Ground, remove};
use super::kept::{self, FORMS, Identity};
use super::namespace::Netns;
use super::process::Process;
use super::random::Random;
use super::row::Row;
use super::session::Session;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 1] = [Row {
    name: "kill -9 at random moments",
    promise: "in all eight forms: every whole block reads back, nothing is invented, no gap, at most --flush (50 ms) and \
              half a second of a busy machine is lost",
    run: killed,
}];

const FLUSH: &str = "50ms";
const FLUSH_NS: u64 = 50_000_000;

/// What the machine may need beyond that to let the tool write: the load has both processors.
const BUSY_NS: u64 = 500_000_000;

/// By how many places the order of transitions may differ between two sessions: they happen on several CPUs.
const REORDERED: usize = 64;

/// A session that was killed. Times are since the host was started, in nanoseconds.
struct Killed {
    outputs: Vec<PathBuf>,
    attached_ns: u64,
    killed_ns: u64,
}

fn killed(ground: &Ground) -> Result<String> {
    let netns = Netns::new()?;
    let inode = netns.inode()?;
    let folder = ground.folder()?;
    // A session that nobody kills sees the same connections.
    let whole = folder.join("whole.jsonl");
    let mut command = ground.tool(["trace", "--netns", &inode, "--ring-size", "64M", "-o"]);
    let reference = Session::attached(ground, command.arg(&whole), &whole)?;
    // Longer connections make fewer transitions, which still keep a session busy.
    let mut load = netns.command(&ground.churn);
    load.args(["--connections", "100000000", "--exchanges", "30"]).stdout(Stdio::null());
    let load = Process::start(&mut load)?;
    let mut random = Random::new(9);
    let mut killed = Vec::new();
    for time in 0..ground.times(20, 100) {
        killed.push(kill_one(ground, &inode, &folder.join(time.to_string()), &mut random)?);
    }
    drop(load);
    reference.stop()?.expect(0)?;
    let reference = Reference::read(ground, &whole)?;
    let (mut found, mut late_ns) = (0, 0);
    for killed in &killed {
        for output in &killed.outputs {
            let (some, late) =
                reference.check(ground, output, killed).with_context(|| output.display().to_string())?;
            found += some;
            late_ns = late_ns.max(late);
        }
    }
    ensure!(found > killed.len() * FORMS.len() * 10, "only {found} records in {} sessions", killed.len());
    remove(&folder)?;
    Ok(format!(
        "{} kills, {} files, {found} records read back, none invented, none missing in between; at most the last {} ms \
         missing",
        killed.len(),
        killed.len() * FORMS.len(),
        late_ns / 1_000_000
    ))
}

/// Starts a session that writes all forms, and kills it.
fn kill_one(ground: &Ground, inode: &str, folder: &Path, random: &mut Random) -> Result<Killed> {
    std::fs::create_dir(folder)?;
    let outputs: Vec<PathBuf> = FORMS.iter().map(|form| folder.join(format!("x.{form}"))).collect();
    let mut command = ground.tool(["trace", "--netns", inode, "--flush", FLUSH]);
    for output in &outputs {
        command.arg("-o").arg(output);
    }
    let mut session = Session::attached(ground, &mut command, &outputs[3])?;
    let attached_ns = monotonic_ns()?;
    sleep(Duration::from_micros(random.below(500_000)));
    let killed_ns = monotonic_ns()?;
    session.signal(Signal::KILL)?;
    session.child.wait()?;
    Ok(Killed { outputs, attached_ns, killed_ns })
}

fn monotonic_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::Monotonic);
    Ok(u64::try_from(now.tv_sec)? * 1_000_000_000 + u64::try_from(now.tv_nsec)?)
}

/// What the session that nobody killed saw.
struct Reference {
    /// Each transition, with its place in the order and its time.
    order: HashMap<Identity, (usize, u64)>,
    /// The places of those that no other looks like, in order.
    certain: Vec<usize>,
}

impl Reference {
    fn read(ground: &Ground, path: &Path) -> Result<Self> {
        let content = kept::read(ground, path)?;
        let places = || content.transitions.iter().enumerate();
        let order =
            places().map(|(place, found)| (found.identity, (place, found.ktime_ns.unwrap_or_default())));
        let certain = places().filter(|(_, found)| !found.is_ambiguous).map(|(place, _)| place);
        Ok(Self { order: order.collect(), certain: certain.collect() })
    }

    /// Compares a file of a session that was killed. Returns how many records it has, and of how many nanoseconds
    /// before its end the records are missing.
    fn check(&self, ground: &Ground, path: &Path, killed: &Killed) -> Result<(usize, u64)> {
        let Killed { outputs: _, attached_ns, killed_ns } = *killed;
        let content = kept::read(ground, path)?;
        ensure!(!content.has_summary, "a killed session has a summary");
        let (mut places, mut latest_ns) = (Vec::new(), attached_ns);
        for found in &content.transitions {
            let Some((place, ktime_ns)) = self.order.get(&found.identity) else {
                bail!("a transition is invented: record {}", places.len());
            };
            latest_ns = latest_ns.max(found.ktime_ns.unwrap_or(*ktime_ns).min(killed_ns));
            if !found.is_ambiguous {
                places.push(*place);
            }
        }
        let known = places.len();
        places.sort_unstable();
        places.dedup();
        ensure!(places.len() == known, "{} transitions occur twice", known - places.len());
        let gaps = self.gaps(&places);
        ensure!(gaps == 0, "{gaps} transitions are missing between the first and the last");
        let late_ns = killed_ns - latest_ns;
        ensure!(late_ns < FLUSH_NS + BUSY_NS, "the last {} ms are missing", late_ns / 1_000_000);
        Ok((content.transitions.len(), late_ns))
    }

    /// How many transitions of the reference lie between these places, which are in order, and are not among them.
    fn gaps(&self, places: &[usize]) -> usize {
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return 0 };
        // At both ends, the sessions may have seen transitions in another order.
        let (first, last) = (first + REORDERED, last.saturating_sub(REORDERED));
        let within = |all: &[usize]| {
            let from = all.partition_point(|place| *place < first);
            all.partition_point(|place| *place < last).saturating_sub(from)
        };
        within(&self.certain).saturating_sub(within(places))
    }
}
