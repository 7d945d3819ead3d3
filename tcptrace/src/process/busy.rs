//! How busy threads are that run, and with what: samples their latest calls for a tenth of a second, and for up to a second
//! where that does not tell.
//!
//! Files: proc_pid_stat(5), proc_pid_status(5), proc_pid_io(5), proc_pid_fdinfo(5), Documentation/scheduler/sched-stats.rst ("schedstat").

use std::{fs, path::Path, sync::Arc, thread, time::Duration};

use rustix::fs::{Mode, RawDir, openat, readlinkat};

use super::{
    aside::Aside,
    calls::{self, Epoll},
    reader::DIRECTORY,
    task_files::{ThreadStat, open, stat, text},
};
use crate::{
    host::world::World,
    model::{
        doing::{BusyReads, CallSamples, CpuUse, LatestCall, ProcessDoing, ThreadDoing, ThreadState},
        process::ProcessIdentity,
    },
};

/// Between two looks, as long as it has to be seen what a thread that never rests is busy with: a second in all. The kernel
/// counts the time in the kernel in steps of 10 ms, and of few steps nothing can be told.
const INTERVALS_MS: [u64; 4] = [100, 200, 300, 400];
const ENOUGH_NS: u64 = 25 * TICK_NS;

/// Samples of the latest calls in each of these intervals.
const SAMPLES: u32 = 5;

/// A thread that calls again and again has done so this long after it was interrupted.
const RESUMES_WITHIN: Duration = Duration::from_millis(1);

/// A tick of `stat`: USER_HZ is 100 on every architecture with BPF.
const TICK_NS: u64 = 10_000_000;

/// Descriptors of a busy process among which epoll instances are looked for.
const MOST_DESCRIPTORS: usize = 4_096;

/// One look at a process: what the kernel counts of its running threads, in order.
type Sample = Vec<Option<Counted>>;

/// What the kernel counts of a thread since it began.
#[derive(Clone, Copy)]
struct Counted {
    used_ns: u64,
    /// It was ready to run, and no processor was free.
    waited_ns: u64,
    in_kernel_ns: u64,
    /// It waited of its own accord.
    sleeps: u64,
    /// By read(2), write(2) and their relatives; 0 where the kernel does not count them.
    moved_bytes: u64,
}

/// Whether a thread of the process runs.
pub(super) fn runs(doing: &ProcessDoing) -> bool {
    running(doing).next().is_some()
}

/// The threads of the process that run.
fn running(doing: &ProcessDoing) -> impl Iterator<Item = &ThreadDoing> {
    doing.threads.iter().filter(|thread| thread.state == ThreadState::Running)
}

/// Adds to each process of which a thread runs how much that is, what it called, and what it may read.
pub(super) fn measure(
    world: &World,
    mut found: Vec<(&Arc<ProcessIdentity>, &mut ProcessDoing)>,
    mut latest_calls: impl FnMut() -> Vec<LatestCall>,
) {
    let clocks = &world.clocks;
    let look =
        |(process, doing): &(&Arc<ProcessIdentity>, &mut ProcessDoing)| sample(&world.proc, process, doing);
    let began_ns = clocks.monotonic_ns();
    let before: Vec<Sample> = found.iter().map(look).collect();
    let mut taken = 0;
    let mut aside = Aside::begin();
    for interval_ms in INTERVALS_MS {
        for _ in 0..SAMPLES {
            aside.keep_off(processors(&world.proc, &found));
            thread::sleep(Duration::from_millis(interval_ms) / SAMPLES);
            // Meanwhile the scheduler may have moved one of them to the CPU of this thread.
            if aside.keep_off(processors(&world.proc, &found)) {
                thread::sleep(RESUMES_WITHIN);
            }
            taken += 1;
            add_samples(&world.proc, &mut found, &latest_calls());
        }
        let after: Vec<Sample> = found.iter().map(look).collect();
        let within_ns = clocks.monotonic_ns().saturating_sub(began_ns);
        for ((_, doing), (before, after)) in found.iter_mut().zip(before.iter().zip(&after)) {
            compare(doing, before, after, within_ns);
        }
        if !found.iter().any(|(_, doing)| is_undecided(doing, taken)) {
            break;
        }
    }
    drop(aside);
    let has_quiet_cpus = has_cpus_without_timer(&world.root);
    for (process, doing) in found {
        for thread in doing.threads.iter_mut().filter(|_| has_quiet_cpus) {
            if thread.cpu.is_some_and(|cpu| thread.samples.may_be_stale(cpu.in_kernel_ns)) {
                thread.samples = CallSamples::default();
            }
        }
        doing.reads = epolls(&world.proc, process).map(|epolls| reads(epolls, doing));
    }
}

/// Whether there are CPUs on which no timer interrupts a thread that is alone there (`nohz_full` of
/// Documentation/timers/no_hz.rst).
fn has_cpus_without_timer(root: &Path) -> bool {
    let cpus = fs::read(root.join("sys/devices/system/cpu/nohz_full")).unwrap_or_default();
    // Without any, the kernel writes `(null)` or nothing.
    cpus.iter().any(u8::is_ascii_digit)
}

/// The CPUs that running threads of these processes ran on last.
fn processors<'a>(
    proc_root: &'a Path,
    found: &'a [(&Arc<ProcessIdentity>, &mut ProcessDoing)],
) -> impl Iterator<Item = usize> + 'a {
    found.iter().flat_map(move |(process, doing)| {
        let directory = open(proc_root, process);
        running(doing).filter_map(move |thread| {
            Some(stat(directory.as_ref()?, &format!("task/{}/stat", thread.tid))?.processor)
        })
    })
}

/// Adds the latest calls to the threads that made them. Numbers of calls are those of 64-bit programs.
fn add_samples(
    proc_root: &Path,
    found: &mut [(&Arc<ProcessIdentity>, &mut ProcessDoing)],
    calls: &[LatestCall],
) {
    for call in calls {
        let is_its = |(process, _): &&mut (&Arc<ProcessIdentity>, &mut ProcessDoing)| {
            process.pid == call.process && process.is_32_bit != Some(true)
        };
        let Some((process, doing)) = found.iter_mut().find(is_its) else { continue };
        let is_caller = |thread: &&mut ThreadDoing| call.tid.visible() == Some(thread.tid);
        let Some(thread) = doing.threads.iter_mut().find(is_caller) else { continue };
        let name = call.name.filter(|_| call.is_woken());
        let reported =
            name.and_then(|name| calls::reported_again(&open(proc_root, process)?, name, call.arguments));
        thread.samples.add(call, reported.as_deref());
    }
}

/// Whether a thread never rests, and its calls do not tell why: it got too little CPU to tell how much of it was in the kernel,
/// or too few samples were taken of it, of `taken` at most.
fn is_undecided(doing: &ProcessDoing, taken: u32) -> bool {
    let is_undecided = |thread: &ThreadDoing| {
        let Some(cpu) = thread.cpu else { return false };
        if !cpu.is_busy() {
            // It may wait for a processor all the time, which counts once it has got one.
            return thread.samples.taken == taken;
        }
        let is_plain = cpu.is_much_in_kernel() && cpu.in_kernel_ns > 2 * TICK_NS;
        let is_told = thread.samples.tell() || (thread.samples.taken == 0 && is_plain);
        let is_unseen = thread.samples.taken > 0 && !thread.samples.are_enough(cpu);
        !is_told && (cpu.used_ns < ENOUGH_NS || is_unseen)
    };
    doing.threads.iter().any(is_undecided)
}

/// What a process did between two looks.
fn compare(doing: &mut ProcessDoing, before: &Sample, after: &Sample, within_ns: u64) {
    let running = doing.threads.iter_mut().filter(|thread| thread.state == ThreadState::Running);
    for (thread, (before, after)) in running.zip(before.iter().zip(after)) {
        thread.cpu = before.zip(*after).map(|(before, after)| {
            // Times are as old as the last tick.
            let used_ns = after.used_ns.saturating_sub(before.used_ns).min(within_ns);
            CpuUse {
                used_ns,
                waited_ns: after.waited_ns.saturating_sub(before.waited_ns),
                in_kernel_ns: after.in_kernel_ns.saturating_sub(before.in_kernel_ns).min(used_ns),
                within_ns,
                sleeps: after.sleeps.saturating_sub(before.sleeps),
                moved_bytes: after.moved_bytes.saturating_sub(before.moved_bytes),
            }
        });
    }
}

fn sample(proc_root: &Path, process: &ProcessIdentity, doing: &ProcessDoing) -> Sample {
    let Some(directory) = open(proc_root, process) else { return Vec::new() };
    let counted = |tid: u32| {
        let ThreadStat { user_ticks, kernel_ticks, .. } = stat(&directory, &format!("task/{tid}/stat"))?;
        // More exact, where the kernel has it (CONFIG_SCHED_INFO).
        let schedstat = text(&directory, &format!("task/{tid}/schedstat")).unwrap_or_default();
        let mut numbers = schedstat.split_ascii_whitespace().map(|number| number.parse().unwrap_or(0));
        let (run_ns, waited_ns) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let used_ns = if run_ns > 0 { run_ns } else { (user_ticks + kernel_ticks) * TICK_NS };
        let number = |file: &str, name: &str| {
            let found = text(&directory, &format!("task/{tid}/{file}")).and_then(|text| {
                text.lines().find_map(|line| line.strip_prefix(name)?.trim_ascii().parse().ok())
            });
            found.unwrap_or(0)
        };
        Some(Counted {
            used_ns,
            waited_ns,
            in_kernel_ns: kernel_ticks * TICK_NS,
            sleeps: number("status", "voluntary_ctxt_switches:"),
            moved_bytes: number("io", "rchar:") + number("io", "wchar:"),
        })
    };
    running(doing).map(|thread| counted(thread.tid)).collect()
}

/// What the running threads of a process may read: what is reported by the epoll instances that no sleeping thread waits for.
/// Of several such instances, the one with a descriptor in question may be that of a thread which sleeps elsewhere.
fn reads(mut epolls: Vec<Epoll>, doing: &ProcessDoing) -> BusyReads {
    let has_epoll = !epolls.is_empty();
    let mut is_elsewhere = doing.has_more;
    for thread in doing.threads.iter().filter(|thread| thread.state != ThreadState::Running) {
        let waits = thread.call.as_ref().filter(|call| call.name.starts_with("epoll"));
        let of_it = waits.and_then(|call| epolls.iter().position(|epoll| epoll.reads == call.reads_from));
        match of_it {
            Some(at) => drop(epolls.swap_remove(at)),
            None => is_elsewhere = true,
        }
    }
    if is_elsewhere && epolls.len() > 1 {
        epolls.clear();
    }
    BusyReads { has_epoll, epolled: epolls.into_iter().flat_map(|epoll| epoll.again).collect() }
}

/// The epoll instances of a process.
fn epolls(proc_root: &Path, process: &ProcessIdentity) -> Option<Vec<Epoll>> {
    let directory = open(proc_root, process)?;
    let descriptors = openat(&directory, "fd", DIRECTORY, Mode::empty()).ok()?;
    let mut buffer = Vec::with_capacity(8 * 1024);
    let mut entries = RawDir::new(&descriptors, buffer.spare_capacity_mut());
    let mut epolls = Vec::new();
    for _ in 0..MOST_DESCRIPTORS {
        let Some(Ok(entry)) = entries.next() else { break };
        let target = readlinkat(&descriptors, entry.file_name(), Vec::new());
        let is_epoll = target.is_ok_and(|target| target.as_bytes() == b"anon_inode:[eventpoll]");
        if is_epoll && let Ok(name) = entry.file_name().to_str() {
            epolls.push(calls::epoll(&directory, name).unwrap_or_default());
        }
    }
    Some(epolls)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::model::doing::SleepingCall;

    fn thread(state: ThreadState, call: Option<(&'static str, &[u32])>) -> ThreadDoing {
        let call = call.map(|(name, fds)| SleepingCall {
            name,
            writes_to: Vec::new(),
            reads_from: fds.to_vec(),
            is_complete: true,
        });
        ThreadDoing { tid: 1, state, call, waits_in: None, cpu: None, samples: CallSamples::default() }
    }

    /// What the running thread may read beside these others, of two loops.
    fn read(others: Vec<ThreadDoing>) -> Vec<u32> {
        let epoll = |fds: &[u32]| Epoll { reads: fds.to_vec(), again: fds.to_vec() };
        let threads = [vec![thread(ThreadState::Running, None)], others].concat();
        reads(vec![epoll(&[3, 5]), epoll(&[4, 7])], &ProcessDoing { threads, ..ProcessDoing::default() })
            .epolled
    }

    #[test]
    fn cpus_without_a_timer_are_those_that_the_kernel_lists() {
        let told = |text: &str| {
            let root = tempfile::tempdir().unwrap();
            let cpu = root.path().join("sys/devices/system/cpu");
            fs::create_dir_all(&cpu).unwrap();
            fs::write(cpu.join("nohz_full"), text).unwrap();
            has_cpus_without_timer(root.path())
        };
        assert_eq!(["2-7\n", "  (null)\n", "\n"].map(told), [true, false, false]);
        assert!(!has_cpus_without_timer(Path::new("/nowhere")));
    }

    #[test]
    fn a_busy_thread_does_not_read_what_another_loop_waits_for() {
        assert_eq!(read(vec![thread(ThreadState::Sleeping, Some(("epoll_wait", &[3, 5])))]), [4, 7]);
        assert_eq!(read(Vec::new()), [3, 5, 4, 7], "one thread has both");
        let stuck = thread(ThreadState::Sleeping, Some(("futex", &[])));
        assert!(read(vec![stuck.clone()]).is_empty(), "either may be its loop");
        let both = vec![thread(ThreadState::Sleeping, Some(("epoll_pwait", &[4, 7]))), stuck];
        assert_eq!(read(both), [3, 5]);
    }
}
