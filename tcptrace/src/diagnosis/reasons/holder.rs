//! Reasons that lie with the processes that hold a socket: what their threads do, and whether they are left over.

use super::{
    Named,
    facts::{Awaited, HolderFacts, ReasonFacts},
    reason,
};
use crate::model::{
    connection_side::ConnectionSide,
    doing::{CallSamples, CpuUse, ProcessDoing, SleepingCall, ThreadDoing, ThreadState},
    endpoints::Endpoint,
    owner::Evidence,
    reason::{Reason, ReasonId, ReasonNumbers},
    units::{Elapsed, plural},
    verdict::Verdict,
};

/// Calls named of the threads that sleep.
const CALLS_NAMED: usize = 3;

/// Holders of one socket of which it is said in what they sleep.
const SLEEPERS_NAMED: usize = 3;

pub(super) fn add(facts: &ReasonFacts<'_>, found: &mut Vec<Reason>) {
    for holder in &facts.holders {
        found.extend(old_generation(facts, holder));
    }
    let doing = facts.holders.iter().filter_map(|holder| doing_of(facts, holder, holder.doing?));
    let (sleeping, others): (Vec<Reason>, Vec<Reason>) =
        doing.partition(|reason| reason.id == ReasonId::HolderSleeping);
    found.extend(others);
    found.extend(together(sleeping));
}

/// One reason for all holders that sleep: any of them could have acted.
fn together(sleeping: Vec<Reason>) -> Option<Reason> {
    let mut texts: Vec<String> =
        sleeping.iter().take(SLEEPERS_NAMED).map(|reason| reason.text.clone()).collect();
    let more = sleeping.len().saturating_sub(SLEEPERS_NAMED);
    if more > 0 {
        texts.push(format!("{more} more sleep, too"));
    }
    let first = sleeping.into_iter().next()?;
    Some(Reason { text: texts.join("; "), ..first })
}

fn of_process(holder: &HolderFacts<'_>) -> ReasonNumbers {
    ReasonNumbers { pid: holder.process.pid.visible(), ..ReasonNumbers::default() }
}

/// Whether a signal, its cgroup or a debugger keeps the process from doing anything.
pub(super) fn is_kept_from_running(holder: &HolderFacts<'_>) -> bool {
    holder.doing.and_then(what_keeps_from_running).is_some()
}

/// In words, what a process is that cannot do anything.
pub(super) fn what_keeps_from_running(doing: &ProcessDoing) -> Option<&'static str> {
    if doing.is_frozen {
        Some("frozen by its cgroup")
    } else if is_traced(doing) {
        Some("stopped by a debugger")
    } else {
        is_stopped(doing).then_some("stopped by a signal")
    }
}

fn is_traced(doing: &ProcessDoing) -> bool {
    doing.threads.iter().any(|thread| thread.state == ThreadState::Traced)
}

fn is_stopped(doing: &ProcessDoing) -> bool {
    !doing.threads.is_empty() && doing.threads.iter().all(|thread| thread.state == ThreadState::Stopped)
}

/// What the threads of a holder do, in one reason.
fn doing_of(facts: &ReasonFacts<'_>, holder: &HolderFacts<'_>, doing: &ProcessDoing) -> Option<Reason> {
    let ProcessDoing { threads, has_more: _, tracer, is_frozen, reads: _ } = doing;
    let name = Named(holder.process);
    let numbers = of_process(holder);
    if *is_frozen {
        return Some(reason(ReasonId::HolderFrozen, format!("{name} is frozen by its cgroup"), numbers));
    }
    if is_traced(doing) {
        let by = tracer.map(|pid| format!(", process {pid}")).unwrap_or_default();
        let numbers = ReasonNumbers { tracer: *tracer, ..numbers };
        return Some(reason(ReasonId::HolderTraced, format!("{name} is stopped by a debugger{by}"), numbers));
    }
    if is_stopped(doing) {
        return Some(reason(ReasonId::HolderStopped, format!("{name} is stopped by a signal"), numbers));
    }
    let busy = threads.iter().filter_map(|thread| Some((thread, thread.cpu.filter(|cpu| cpu.is_busy())?)));
    // One that works hides none that spins.
    let busiest = busy.max_by_key(|(thread, cpu)| (thread.samples.tell(), cpu.may_spin(), cpu.used_ns));
    if let Some((thread, cpu)) = busiest {
        return Some(busy_with(facts, holder, doing, (thread, cpu)));
    }
    if let Some(reads) = holder.eof_reads_per_second.filter(|reads| *reads >= MANY_READS) {
        let text = format!("{name} reads the end of file {reads} times a second and does not close");
        let numbers = ReasonNumbers { reads_per_second: Some(reads), ..numbers };
        return Some(reason(ReasonId::SpinsOnEof, text, numbers));
    }
    if let Some(thread) = threads.iter().find(|thread| thread.state == ThreadState::Uninterruptible) {
        let waits_in = match thread.waits_in.as_deref() {
            Some(call) if WAITS_FOR_VFORK.contains(&call) => {
                format!(": it waits in {call} for a child of vfork() to run its program or end")
            }
            Some(call) => format!(": it waits in {call}"),
            None => String::new(),
        };
        let tid = thread.tid;
        let text = format!("thread {tid} of {name} cannot be interrupted (state D){waits_in}");
        let numbers = ReasonNumbers { tid: Some(tid), call: thread.waits_in.clone(), ..numbers };
        return Some(reason(ReasonId::HolderUninterruptible, text, numbers));
    }
    sleeping(holder, doing)
}

/// Where the kernel waits for a child of vfork() (`wait_for_vfork_done` of kernel/fork.c, in `kernel_clone`, before Linux
/// 5.10 in `_do_fork`): no storage is slow.
const WAITS_FOR_VFORK: [&str; 3] = ["kernel_clone", "_do_fork", "wait_for_vfork_done"];

/// Reads of the end of file a second that no program does on purpose.
const MANY_READS: u64 = 20;

/// A thread that does not rest: because of the end of file, or because it computes.
fn busy_with(
    facts: &ReasonFacts<'_>,
    holder: &HolderFacts<'_>,
    doing: &ProcessDoing,
    (thread, cpu): (&ThreadDoing, CpuUse),
) -> Reason {
    let (name, tid) = (Named(holder.process), thread.tid);
    let took = format!("{} of CPU within {}", Elapsed(cpu.used_ns), Elapsed(cpu.within_ns));
    let reads_per_second = holder.eof_reads_per_second.filter(|reads| *reads >= MANY_READS);
    let numbers = ReasonNumbers {
        tid: Some(tid),
        cpu_ns: Some(cpu.used_ns),
        within_ns: Some(cpu.within_ns),
        reads_per_second,
        ..of_process(holder)
    };
    // A runtime may move to another thread what reads.
    let samples = doing.threads.iter().map(|thread| &thread.samples);
    let samples = samples.fold(CallSamples::default(), CallSamples::with);
    let text = match spins_on(facts, holder, doing, (thread, cpu), &samples) {
        Some(Spinning::Reads { per_second }) => format!(
            "{name} spins: it reads the end of file {per_second} times a second (thread {tid} took {took}) and does not \
             close"
        ),
        Some(Spinning::SeenReading { fd, times }) => {
            let waking = match samples.woken_with(&[fd]) {
                0 => String::new(),
                times => format!(", and waking up for it in {times}"),
            };
            format!(
                "{name} spins: it reads the end of file of descriptor {fd} again and again (seen in {times} of {} \
                 samples of its latest call{waking}; thread {tid} took {took}) and does not close",
                samples.taken
            )
        }
        Some(Spinning::SeenWoken { times }) => format!(
            "{name} spins: thread {tid} took {took}, and is woken by the end of file again and again (seen in {times} of \
             {} samples of its latest call)",
            thread.samples.taken
        ),
        Some(Spinning::MuchInKernel) => format!(
            "{name} spins: thread {tid} took {took}, much of it in system calls, as it is woken by the end of file again \
             and again"
        ),
        None => {
            let text = match samples.reads_again(|fd| !holder.fds.contains(&fd)) {
                Some((fd, _)) => {
                    format!("thread {tid} of {name} reads descriptor {fd} again and again: {took}")
                }
                None if thread.samples.calls_again() => {
                    format!("thread {tid} of {name} is busy, in system calls too: {took}")
                }
                // Such a reader makes no call for what it has read already.
                None if facts.verdict == Some(Verdict::EofRead) && thread.samples.calls_never(cpu) => {
                    let taken = thread.samples.taken;
                    format!(
                        "thread {tid} of {name} computes, and none of {taken} samples shows a system call, as of a loop that \
                         reads on from a buffer at its end: {took}"
                    )
                }
                None => format!("thread {tid} of {name} computes: {took}"),
            };
            return reason(ReasonId::HolderRunning, text, numbers);
        }
    };
    reason(ReasonId::SpinsOnEof, text, numbers)
}

/// How it is known that a thread spins on an end of file.
enum Spinning {
    /// Every read was watched.
    Reads { per_second: u64 },
    /// In samples of its latest call.
    SeenReading { fd: u32, times: u32 },
    /// Likewise: it does not have to wait.
    SeenWoken { times: u32 },
    /// As processor time tells.
    MuchInKernel,
}

/// Whether it is the end of file of this socket that keeps a thread busy.
fn spins_on(
    facts: &ReasonFacts<'_>,
    holder: &HolderFacts<'_>,
    doing: &ProcessDoing,
    (thread, cpu): (&ThreadDoing, CpuUse),
    samples: &CallSamples,
) -> Option<Spinning> {
    if holder.evidence != Evidence::FdTable {
        return None;
    }
    // Where every read is watched, and few were of this end of file, something else keeps it busy.
    if let Some(per_second) = holder.eof_reads_per_second {
        return (per_second >= MANY_READS).then_some(Spinning::Reads { per_second });
    }
    let has_ended = match facts.verdict? {
        // Nothing but the end is left to be read.
        Verdict::EofRead | Verdict::ConnectionOver => {
            if let Some((fd, times)) = samples.reads_again(|fd| holder.fds.contains(&fd)) {
                return Some(Spinning::SeenReading { fd, times });
            }
            true
        }
        Verdict::EofUnread | Verdict::DataUnread => true,
        _ => false,
    };
    let may_be_of_it = || doing.reads.as_ref().is_none_or(|reads| reads.may_be_of(holder.fds));
    if !has_ended || !cpu.is_restless() {
        None
    } else if thread.samples.is_woken_again_with(holder.fds) {
        Some(Spinning::SeenWoken { times: thread.samples.woken_with(holder.fds) })
    } else {
        let may_spin = cpu.is_much_in_kernel() && thread.samples.may_spin(cpu, holder.fds) && may_be_of_it();
        may_spin.then_some(Spinning::MuchInKernel)
    }
}

/// In which calls the threads sleep; `None` where that is not known of any.
fn sleeping(holder: &HolderFacts<'_>, doing: &ProcessDoing) -> Option<Reason> {
    let name = Named(holder.process);
    let calls: Vec<(&ThreadDoing, &SleepingCall)> =
        doing.threads.iter().filter_map(|thread| Some((thread, thread.call.as_ref()?))).collect();
    let (main, main_call) = calls.first()?;
    let on_it = holder.fds.iter().find_map(|fd| {
        let is_on = |call: &SleepingCall| call.writes_to.contains(fd) || call.reads_from == [*fd];
        calls.iter().find(|(_, call)| is_on(call)).map(|(thread, call)| (*fd, thread, call))
    });
    let is_held = holder.evidence == Evidence::FdTable;
    let threads = doing.threads.len();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (_, call) in &calls {
        match counts.iter_mut().find(|(counted, _)| *counted == call.name) {
            Some((_, count)) => *count += 1,
            None => counts.push((call.name, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let (text, tid, call) = if let Some((fd, thread, call)) = on_it.filter(|_| is_held) {
        let text = format!("thread {} of {name} sleeps in {}() on it (fd {fd})", thread.tid, call.name);
        (text, thread.tid, call.name)
    } else if threads == 1 && !doing.has_more {
        let whom = main_call.awaited().and_then(|fd| awaited(holder, fd));
        let whom = whom.map(|Awaited { fd, remote, .. }| format!(", and waits for {remote} (fd {fd})"));
        (
            format!("{name} sleeps in {}(){}", main_call.name, whom.unwrap_or_default()),
            main.tid,
            main_call.name,
        )
    } else {
        let named: Vec<String> =
            counts.iter().take(CALLS_NAMED).map(|(call, count)| format!("{count} in {call}()")).collect();
        let more = if counts.len() > CALLS_NAMED { " …" } else { "" };
        let first = if doing.has_more { "first " } else { "" };
        let all = plural(threads as u64, "thread");
        let running = doing.threads.iter().filter(|thread| thread.state == ThreadState::Running).count();
        let run = if running > 0 { format!(", {running} run") } else { String::new() };
        let named = named.join(", ");
        let text = if calls.len() == threads {
            format!("the {first}{all} of {name} sleep: {named}{more}")
        } else {
            format!("of the {first}{all} of {name}, {} sleep: {named}{more}{run}", calls.len())
        };
        let text = match most_awaited(holder, &calls) {
            Some((1, remote)) => format!("{text}; one waits for {remote}"),
            Some((count, remote)) => format!("{text}; {count} wait for {remote}"),
            None => text,
        };
        (text, main.tid, counts.first().map_or(main_call.name, |(call, _)| call))
    };
    let numbers = ReasonNumbers {
        tid: Some(tid),
        call: Some(call.to_owned()),
        threads: Some(threads as u64),
        ..of_process(holder)
    };
    Some(reason(ReasonId::HolderSleeping, text, numbers))
}

/// The connection behind a descriptor that a thread waits for data of.
fn awaited<'a>(holder: &HolderFacts<'a>, fd: u32) -> Option<&'a Awaited> {
    holder.awaited.iter().find(|awaited| awaited.fd == fd)
}

/// For which peer most threads wait, and how many do.
fn most_awaited(
    holder: &HolderFacts<'_>,
    calls: &[(&ThreadDoing, &SleepingCall)],
) -> Option<(usize, Endpoint)> {
    let mut counts: Vec<(usize, Endpoint)> = Vec::new();
    for remote in calls.iter().filter_map(|(_, call)| Some(awaited(holder, call.awaited()?)?.remote)) {
        match counts.iter_mut().find(|(_, counted)| *counted == remote) {
            Some((count, _)) => *count += 1,
            None => counts.push((1, remote)),
        }
    }
    counts.into_iter().max_by_key(|(count, remote)| (*count, std::cmp::Reverse(*remote)))
}

/// A process from before a reload: it does not listen any more where its connections were accepted.
fn old_generation(facts: &ReasonFacts<'_>, holder: &HolderFacts<'_>) -> Option<Reason> {
    let newer = holder.newer.filter(|_| holder.evidence == Evidence::FdTable)?;
    let is_accepted = facts.side == Some(ConnectionSide::Accepted);
    is_accepted.then(|| {
        let replaced = if holder.process.is_replaced() { ", and its executable was replaced" } else { "" };
        let text = format!(
            "{} is left from before a reload: {} listens now{replaced}; it only drains",
            Named(holder.process),
            Named(newer),
        );
        let numbers = ReasonNumbers { newer: newer.pid.visible(), ..of_process(holder) };
        reason(ReasonId::OldGeneration, text, numbers)
    })
}
