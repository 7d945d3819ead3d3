//! Reasons why a connection was never accepted: no descriptor left, nobody to accept it, or an accept loop that is stuck or
//! too slow.

use super::{
    Named,
    facts::{HolderFacts, ReasonFacts, WaitingFor},
    reason,
};
use crate::model::{
    doing::{ProcessDoing, ThreadDoing, ThreadState},
    process::{AcceptQueue, DescriptorUse},
    reason::{Reason, ReasonId, ReasonNumbers},
    units::{Elapsed, plural},
    verdict::Verdict,
};

/// Calls in which a process waits for its children or for a signal, and does not accept.
const WAITS_FOR_OTHERS: [&str; 5] = ["wait4", "waitid", "pause", "rt_sigsuspend", "rt_sigtimedwait"];

/// Calls that wait for descriptors, which may or may not be the listener.
pub(super) const WAITS_FOR_DESCRIPTORS: [&str; 7] =
    ["poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"];

pub(super) fn add(facts: &ReasonFacts<'_>, found: &mut Vec<Reason>) {
    let is_waiting = facts.verdict == Some(Verdict::NeverAccepted);
    // Another one of those that share a listener may accept.
    if !is_waiting || facts.holders.iter().all(|holder| full(holder).is_some()) {
        found.extend(facts.holders.iter().find_map(|holder| no_descriptors_left(holder, is_waiting)));
    }
    if is_waiting {
        found.extend(nobody_accepts(&facts.holders));
        // In an empty queue this one does not wait: it is that of another listener at its address (TPROXY).
        found.extend(facts.waiting.filter(|waiting| waiting.queue.length > 0).map(accept_queue));
    }
}

/// The descriptors in use and their limit, where none is left.
fn full(holder: &HolderFacts<'_>) -> Option<(u64, u64)> {
    let DescriptorUse { used, limit } = holder.descriptors;
    used.zip(limit).filter(|(used, limit)| used >= limit)
}

fn no_descriptors_left(holder: &HolderFacts<'_>, is_waiting: bool) -> Option<Reason> {
    let (used, limit) = full(holder)?;
    let text = if is_waiting {
        format!("accept() cannot succeed: {used} of {limit} descriptors are in use")
    } else {
        let name = Named(holder.process);
        format!("{used} of {limit} descriptors of {name} are in use: accept() and open() fail")
    };
    let numbers = ReasonNumbers {
        pid: holder.process.pid.visible(),
        used: Some(used),
        limit: Some(limit),
        ..ReasonNumbers::default()
    };
    Some(reason(ReasonId::NoDescriptorsLeft, text, numbers))
}

fn accept_queue(waiting: WaitingFor) -> Reason {
    let WaitingFor { queue: AcceptQueue { length, limit }, first_for_ns } = waiting;
    let count = plural(u64::from(length), "connection");
    let wait = if length == 1 { "waits" } else { "wait" };
    let dropped = if waiting.queue.is_full() { ": the kernel drops further ones" } else { "" };
    let text = format!(
        "{count} {wait} for accept(), with room for {limit}, the first for at least {}{dropped}",
        Elapsed(first_for_ns)
    );
    let numbers = ReasonNumbers {
        used: Some(length.into()),
        limit: Some(limit.into()),
        for_ns: Some(first_for_ns),
        ..ReasonNumbers::default()
    };
    reason(ReasonId::AcceptQueue, text, numbers)
}

/// Whether all holders of a listener wait for something else than connections: for anything, or for the peer of another
/// connection, as a handler does. Whether they accept at all shows only in what they have accepted there.
pub(crate) fn wait_elsewhere<'a>(
    mut holders: impl Iterator<Item = (Option<&'a ProcessDoing>, &'a [u32])>,
) -> bool {
    let reads = |thread: &ThreadDoing| thread.call.as_ref().is_some_and(|call| call.awaited().is_some());
    holders.all(|(doing, listener)| {
        doing.is_some_and(|doing| {
            waits_for_others(doing, listener).is_some() || doing.threads.iter().all(reads)
        })
    })
}

/// Whether a holder of a listener waits for its children or for a signal with all its threads, as the master of workers: they
/// are to accept.
pub(crate) fn leaves_it_to_others(doing: &ProcessDoing, listener: &[u32]) -> bool {
    waits_for_others(doing, listener).is_some_and(|call| WAITS_FOR_OTHERS.contains(&call))
}

/// Whether nobody accepts: no thread of a holder of the listener waits for connections, while each waits for something else,
/// and no holder has one that was accepted there. One that works, or of which that cannot be told, may come back to accept.
fn nobody_accepts(holders: &[HolderFacts<'_>]) -> Option<Reason> {
    let has_deserted = |holder: &HolderFacts<'_>| {
        holder.has_accepted == Some(false)
            && holder.doing.is_some_and(|doing| waits_for_others(doing, holder.fds).is_some())
    };
    let holder = holders.first().filter(|_| holders.iter().all(has_deserted))?;
    let doing = holder.doing?;
    let call = waits_for_others(doing, holder.fds)?;
    let name = Named(holder.process);
    let others = match holders.len() {
        1 => String::new(),
        count => format!(", like {} more", count - 1),
    };
    let text = match holder.socket_unit {
        // A service that runs has a descriptor of the listener too.
        Some(unit) => format!(
            "{name} holds the listener for {unit} and does not accept itself{others}: the service that would is not there"
        ),
        None => format!(
            "{name} holds the listener, and no thread of it waits for connections: {}, on something else{others}",
            sleeping_in(doing)
        ),
    };
    let numbers = ReasonNumbers {
        pid: holder.process.pid.visible(),
        call: Some(call.to_owned()),
        unit: holder.socket_unit.map(str::to_owned),
        ..ReasonNumbers::default()
    };
    Some(reason(ReasonId::NobodyAccepts, text, numbers))
}

/// In which calls the threads of a process sleep, each call once.
fn sleeping_in(doing: &ProcessDoing) -> String {
    let mut calls: Vec<String> = Vec::new();
    for call in doing.threads.iter().filter_map(|thread| thread.call.as_ref()) {
        let named = format!("{}()", call.name);
        if !calls.contains(&named) {
            calls.push(named);
        }
    }
    let who = if doing.threads.len() == 1 { "it sleeps" } else { "its threads sleep" };
    format!("{who} in {}", calls.join(" and "))
}

/// The call in which a process waits for something else than connections of its listener; `None` if it may accept.
fn waits_for_others(doing: &ProcessDoing, listener: &[u32]) -> Option<&'static str> {
    if doing.has_more {
        return None;
    }
    let mut waits = None;
    for thread in &doing.threads {
        let call = thread.call.as_ref().filter(|_| thread.state == ThreadState::Sleeping)?;
        let is_known = WAITS_FOR_OTHERS.contains(&call.name) || WAITS_FOR_DESCRIPTORS.contains(&call.name);
        let may_accept = call.reads_from.iter().any(|fd| listener.contains(fd)) || !call.is_complete;
        // A lock, or a descriptor that a worker reads.
        let is_elsewhere = call.name == "futex";
        if may_accept || !(is_known || is_elsewhere) {
            return None;
        }
        if is_known {
            waits = waits.or(Some(call.name));
        }
    }
    waits
}
