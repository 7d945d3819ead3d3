//! Reads what processes do at this moment: their threads' states, the calls that these sleep in, whether they are frozen or
//! traced. Reads only: nothing is stopped, and nobody is attached to.
//!
//! Files: proc_pid_stat(5), proc_pid_status(5), proc_pid_syscall(5), proc_pid_wchan(5).

use std::{os::fd::OwnedFd, path::Path, sync::Arc};

use rustix::fs::{Mode, RawDir, openat};

use super::{
    busy, calls,
    frozen::FrozenCgroups,
    reader::DIRECTORY,
    task_files::{open, stat, text},
};
use crate::{
    host::{pool as parallel, world::World},
    model::{
        doing::{CallSamples, LatestCall, ProcessDoing, ThreadDoing, ThreadState},
        process::ProcessIdentity,
    },
};

/// Threads of one process that are looked at.
const MOST_THREADS_OF_ONE: usize = 256;

/// Threads that are looked at in one go, at some ten microseconds each.
const MOST_THREADS: usize = 2_048;

/// Processes that a thread reads in one go.
const CHUNK: usize = 8;

/// What each of these processes does, in order; `None` of one that has ended or is not visible. Waits a tenth of a second
/// where a thread runs, to see how much it does, and asks for the latest calls of all that run.
pub(crate) fn look(
    world: &World,
    processes: &[Arc<ProcessIdentity>],
    latest_calls: impl FnMut() -> Vec<LatestCall>,
) -> Vec<Option<ProcessDoing>> {
    let cgroups = FrozenCgroups::new(world);
    let chunks: Vec<&[Arc<ProcessIdentity>]> = processes.chunks(CHUNK).collect();
    let most_of_one = (MOST_THREADS / processes.len().max(1)).clamp(1, MOST_THREADS_OF_ONE);
    let mut found: Vec<Option<ProcessDoing>> = parallel::map(chunks, |chunk| {
        chunk.iter().map(|process| read(&world.proc, &cgroups, process, most_of_one)).collect::<Vec<_>>()
    })
    .concat();
    let running: Vec<_> = processes
        .iter()
        .zip(&mut found)
        .filter_map(|(process, doing)| Some((process, doing.as_mut()?)))
        .filter(|(_, doing)| busy::runs(doing))
        .collect();
    if !running.is_empty() {
        busy::measure(world, running, latest_calls);
    }
    found
}

fn read(
    proc_root: &Path,
    cgroups: &FrozenCgroups,
    process: &ProcessIdentity,
    most: usize,
) -> Option<ProcessDoing> {
    let directory = open(proc_root, process)?;
    let (tids, has_more) = threads(&directory, most)?;
    // The numbers of calls are those of 64-bit programs.
    let has_names = process.is_32_bit != Some(true);
    let thread = |tid: &u32| {
        let state = stat(&directory, &format!("task/{tid}/stat"))?.state;
        let may_sleep = has_names && state == ThreadState::Sleeping;
        Some(ThreadDoing {
            tid: *tid,
            state,
            call: if may_sleep { calls::read(&directory, *tid) } else { None },
            waits_in: (state == ThreadState::Uninterruptible)
                .then(|| wait_channel(&directory, *tid))
                .flatten(),
            cpu: None,
            samples: CallSamples::default(),
        })
    };
    let threads: Vec<ThreadDoing> =
        tids.iter().filter_map(thread).filter(|thread| thread.state != ThreadState::Ended).collect();
    let is_traced = threads.iter().any(|thread| thread.state == ThreadState::Traced);
    Some(ProcessDoing {
        tracer: if is_traced { tracer(&directory) } else { None },
        is_frozen: cgroups.is_frozen(&directory),
        reads: None,
        threads,
        has_more,
    })
}

/// The threads of a process, the main one first, and whether there are more.
fn threads(process: &OwnedFd, most: usize) -> Option<(Vec<u32>, bool)> {
    let directory = openat(process, "task", DIRECTORY, Mode::empty()).ok()?;
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
    use crate::{model::pid::Pid, process::reader::ProcessReader};

    #[test]
    fn this_process_runs_and_others_are_not_mistaken_for_it() {
        let world = World::of_this_host();
        let me = Arc::new(ProcessReader::new(&world).read(Pid::new(std::process::id())).unwrap());
        let earlier = Arc::new(ProcessIdentity { start_ticks: Some(1), ..(*me).clone() });
        let found = look(&world, &[Arc::clone(&me), earlier], Vec::new);
        let doing = found[0].as_ref().unwrap();
        let cpu = |thread: &ThreadDoing| thread.cpu.is_some_and(|cpu| cpu.within_ns >= 100_000_000);
        assert!(doing.threads.iter().any(cpu), "{doing:?}");
        assert!(doing.tracer.is_none() && !doing.is_frozen && doing.reads.is_some());
        assert_eq!(found[1], None, "another process that had the pid");
    }
}
