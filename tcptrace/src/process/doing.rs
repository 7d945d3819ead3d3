//! Reads what processes do at this moment: their threads' states, the calls that these sleep in, whether they are frozen or
//! traced, and how much CPU time those took that ran. Reads only: nothing is stopped, and nobody is attached to.
//!
//! Files: proc_pid_stat(5), proc_pid_status(5), proc_pid_syscall(5), proc_pid_wchan(5), cgroups(7).

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};

use super::{
    calls,
    reader::{DIRECTORY, contents},
};
use crate::{
    host::{clock, pool as parallel, world::World},
    model::{
        doing::{CpuUse, ProcessDoing, ThreadDoing, ThreadState},
        process::ProcessIdentity,
    },
};

/// Threads of one process that are looked at.
const MOST_THREADS_OF_ONE: usize = 256;

/// Threads that are looked at in one go, at some ten microseconds each.
const MOST_THREADS: usize = 2_048;

/// Processes that a thread reads in one go.
const CHUNK: usize = 8;

/// Between two looks at threads that run. The kernel counts their time in the kernel in steps of 10 ms.
const INTERVAL: Duration = Duration::from_millis(100);

/// A tick of `stat`: USER_HZ is 100 on every architecture with BPF.
const TICK_NS: u64 = 10_000_000;

/// A `stat`, a `wchan` and a `cgroup.events` are shorter; of `status`, what matters comes early.
const FILE_BYTES: u64 = 4 * 1024;

/// What each of these processes does, in order; `None` of one that has ended, is not visible, or that there was no time
/// for. Waits a tenth of a second where a thread runs, to see how much it does.
pub(crate) fn look(world: &World, processes: &[Arc<ProcessIdentity>]) -> Vec<Option<ProcessDoing>> {
    let reader = Reader { proc_root: world.proc.clone(), cgroups: world.root.join("sys/fs/cgroup") };
    let began_ns = world.clocks.monotonic_ns();
    let chunks: Vec<&[Arc<ProcessIdentity>]> = processes.chunks(CHUNK).collect();
    let most_of_one = (MOST_THREADS / processes.len().max(1)).clamp(1, MOST_THREADS_OF_ONE);
    let mut found: Vec<Option<ProcessDoing>> = parallel::map(chunks, |chunk| {
        chunk.iter().map(|process| reader.read(process, most_of_one)).collect::<Vec<_>>()
    })
    .concat();
    let is_running = |thread: &ThreadDoing| thread.state == ThreadState::Running;
    let runs = |doing: &ProcessDoing| doing.threads.iter().any(is_running);
    if !found.iter().flatten().any(runs) {
        return found;
    }
    let used = |found: &[Option<ProcessDoing>]| {
        let mut used = Vec::new();
        for (process, doing) in processes.iter().zip(found) {
            let threads = doing.iter().flat_map(|doing| &doing.threads).filter(|thread| is_running(thread));
            used.extend(threads.map(|thread| reader.cpu_time(process, thread.tid)));
        }
        used
    };
    let before = used(&found);
    let looked_ns = world.clocks.monotonic_ns();
    thread::sleep(INTERVAL.saturating_sub(Duration::from_nanos(looked_ns.saturating_sub(began_ns) / 2)));
    let after = used(&found);
    let within_ns = world.clocks.monotonic_ns().saturating_sub(looked_ns);
    let running =
        found.iter_mut().flatten().flat_map(|doing| &mut doing.threads).filter(|thread| is_running(thread));
    for (thread, (before, after)) in running.zip(before.into_iter().zip(after)) {
        let (Some(before), Some(after)) = (before, after) else { continue };
        // Times are as old as the last tick.
        let used_ns = after.used_ns.saturating_sub(before.used_ns).min(within_ns);
        let in_kernel_ns = after.in_kernel_ns.saturating_sub(before.in_kernel_ns).min(used_ns);
        thread.cpu = Some(CpuUse { used_ns, in_kernel_ns, within_ns });
    }
    found
}

/// Where processes are read.
struct Reader {
    proc_root: PathBuf,
    cgroups: PathBuf,
}

/// CPU time of a thread since it began, in nanoseconds.
struct CpuTime {
    used_ns: u64,
    in_kernel_ns: u64,
}

/// What is wanted of a thread's `stat`.
struct ThreadStat {
    state: ThreadState,
    user_ticks: u64,
    kernel_ticks: u64,
    start_ticks: i64,
}

impl Reader {
    fn open(&self, process: &ProcessIdentity) -> Option<OwnedFd> {
        let pid = process.pid.visible()?;
        let directory = openat(CWD, self.proc_root.join(pid.to_string()), DIRECTORY, Mode::empty()).ok()?;
        let stat = stat(&directory, "stat")?;
        process.start_ticks.is_none_or(|start| start == stat.start_ticks).then_some(directory)
    }

    fn read(&self, process: &ProcessIdentity, most: usize) -> Option<ProcessDoing> {
        let directory = self.open(process)?;
        let (tids, has_more) = threads(&directory, most)?;
        let has_names = process.is_32_bit != Some(true);
        let thread = |tid: &u32| {
            let stat = stat(&directory, &format!("task/{tid}/stat"))?;
            let state = stat.state;
            let call = (has_names && state == ThreadState::Sleeping)
                .then(|| calls::read(&directory, *tid))
                .flatten();
            let waits_in =
                if state == ThreadState::Uninterruptible { wait_channel(&directory, *tid) } else { None };
            Some(ThreadDoing { tid: *tid, state, call, waits_in, cpu: None })
        };
        let threads: Vec<ThreadDoing> =
            tids.iter().filter_map(thread).filter(|thread| thread.state != ThreadState::Ended).collect();
        let is_traced = threads.iter().any(|thread| thread.state == ThreadState::Traced);
        Some(ProcessDoing {
            tracer: if is_traced { tracer(&directory) } else { None },
            is_frozen: self.is_frozen(&directory),
            threads,
            has_more,
        })
    }

    fn cpu_time(&self, process: &ProcessIdentity, tid: u32) -> Option<CpuTime> {
        let directory = self.open(process)?;
        let ThreadStat { user_ticks, kernel_ticks, .. } = stat(&directory, &format!("task/{tid}/stat"))?;
        let in_ticks_ns = (user_ticks + kernel_ticks) * TICK_NS;
        // More exact, where the kernel has it (CONFIG_SCHED_INFO).
        let run_ns = text(&directory, &format!("task/{tid}/schedstat"))
            .and_then(|text| text.split_ascii_whitespace().next()?.parse().ok())
            .filter(|run_ns| *run_ns > 0);
        Some(CpuTime { used_ns: run_ns.unwrap_or(in_ticks_ns), in_kernel_ns: kernel_ticks * TICK_NS })
    }

    /// Whether a cgroup of the process is frozen, itself or by one above it.
    fn is_frozen(&self, process: &OwnedFd) -> bool {
        let Some(cgroups) = text(process, "cgroup") else { return false };
        let read = |path: PathBuf| {
            let directory = openat(CWD, path.parent()?, DIRECTORY, Mode::empty()).ok()?;
            text(&directory, path.file_name()?.to_str()?)
        };
        cgroups.lines().any(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return false };
            let below = |root: &Path| root.join(path.trim_start_matches('/'));
            if controllers.is_empty() {
                let events = read(below(&self.cgroups).join("cgroup.events"));
                return events.is_some_and(|events| events.lines().any(|line| line == "frozen 1"));
            }
            controllers.split(',').any(|controller| controller == "freezer")
                && read(below(&self.cgroups.join("freezer")).join("freezer.state"))
                    .is_some_and(|state| state.trim_ascii() == "FROZEN")
        })
    }
}

fn text(directory: &OwnedFd, file: &str) -> Option<String> {
    let bytes = contents(directory, file, FILE_BYTES).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The threads of a process, the main one first, and whether there are more.
fn threads(process: &OwnedFd, most: usize) -> Option<(Vec<u32>, bool)> {
    let directory = openat(process, "task", OFlags::union(DIRECTORY, OFlags::RDONLY), Mode::empty()).ok()?;
    let mut buffer = Vec::with_capacity(8 * 1024);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    let mut tids = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        let Some(tid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        if tids.len() == most {
            return Some((tids, true));
        }
        tids.push(tid);
    }
    Some((tids, false))
}

fn stat(directory: &OwnedFd, file: &str) -> Option<ThreadStat> {
    parse_stat(&contents(directory, file, FILE_BYTES).ok()?)
}

/// `pid (comm) state …`; the times are fields 14 and 15, the start is field 22.
fn parse_stat(stat: &[u8]) -> Option<ThreadStat> {
    let closing = stat.iter().rposition(|byte| *byte == b')')?;
    let behind = std::str::from_utf8(stat.get(closing + 1..)?).ok()?;
    let fields: Vec<&str> = behind.split_ascii_whitespace().take(20).collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(ThreadStat {
        state: ThreadState::from_letter(*fields.first()?.as_bytes().first()?),
        user_ticks: ticks(11)?,
        kernel_ticks: ticks(12)?,
        start_ticks: clock::start_ticks(fields.get(19)?.parse().ok()?),
    })
}

/// The function that a thread waits in; `None` where the kernel does not say (it writes `0`).
fn wait_channel(process: &OwnedFd, tid: u32) -> Option<String> {
    text(process, &format!("task/{tid}/wchan")).filter(|name| !name.is_empty() && name != "0")
}

fn tracer(process: &OwnedFd) -> Option<u32> {
    let status = text(process, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim_ascii().parse().ok().filter(|pid| *pid != 0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_name_of_the_thread() {
        let line = b"7 (a) b) (c) D 1 7 7 0 -1 4194560 1 0 0 0 31 42 0 0 20 0 1 0 4711 0";
        let ThreadStat { state, user_ticks, kernel_ticks, start_ticks } = parse_stat(line).unwrap();
        assert_eq!(state, ThreadState::Uninterruptible);
        assert_eq!((user_ticks, kernel_ticks, start_ticks), (31, 42, clock::start_ticks(4711)));
        assert!(parse_stat(b"7 (a) R").is_none());
    }

    #[test]
    fn this_process_runs_and_others_are_not_mistaken_for_it() {
        let world = World::of_this_host();
        let reader = crate::process::reader::ProcessReader::new(&world);
        let me = Arc::new(reader.read(crate::model::pid::Pid::new(std::process::id())).unwrap());
        let earlier = Arc::new(ProcessIdentity { start_ticks: Some(1), ..(*me).clone() });
        let found = look(&world, &[Arc::clone(&me), earlier]);
        let doing = found[0].as_ref().unwrap();
        assert!(doing.threads.iter().any(|thread| thread.state == ThreadState::Running), "{doing:?}");
        assert!(doing.tracer.is_none() && !doing.is_frozen);
        assert_eq!(found[1], None, "another process that had the pid");
    }
}
