//! Holders that something outside keeps from running, or that sleep.
//!
//! They are described before, because they cannot answer then; what they are in is seen in /proc before the peer closes.

use super::{Accepting, Pair, accepted};
use crate::message::{Reply, Request, Sleep};
use crate::stage::{Ended, Role, Stage};
use crate::truth::{Reason, Truth};
use anyhow::{Result, bail};

pub(crate) fn holder_stopped(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, mut truths, pid) = described(stage)?;
    stage.stop(pair.holder)?;
    left_alone(stage, &pair, &mut truths, &Reason::new("holder_stopped").is("pid", pid))?;
    Ok(truths)
}

pub(crate) fn holder_frozen(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, mut truths, pid) = described(stage)?;
    stage.freeze(pair.holder, stage.setting.freezer)?;
    left_alone(stage, &pair, &mut truths, &Reason::new("holder_frozen").is("pid", pid))?;
    Ok(truths)
}

pub(crate) fn holder_traced(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, mut truths, pid) = described(stage)?;
    let tracer = stage.start(Role::Bystander)?;
    stage.trace(tracer, pair.holder)?;
    let traced = Reason::new("holder_traced").is("pid", pid).is("tracer", stage.pid(tracer)?);
    left_alone(stage, &pair, &mut truths, &traced)?;
    Ok(truths)
}

/// Somebody follows its system calls, and stops it in none.
pub(crate) fn holder_watched(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, mut truths, pid) = described(stage)?;
    let tracer = stage.start(Role::Bystander)?;
    stage.order(tracer, &Request::Trace { pid, stops: false })?;
    stage.end_unseen(pair.peer)?.happened_to(&mut truths);
    for truth in &mut truths {
        truth
            .because(&[Reason::new("client_left"), Reason::new("holder_sleeping").is("pid", pid)], &NOT_KEPT);
    }
    Ok(truths)
}

/// It waits for a child of vfork() that neither executes a program nor ends.
pub(crate) fn holder_uninterruptible(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, mut truths, pid) = described(stage)?;
    stage.put_to_sleep(pair.holder, Sleep::Vfork)?;
    let waits = Reason::new("holder_uninterruptible").is("pid", pid).is("tid", pid);
    left_alone(stage, &pair, &mut truths, &waits)?;
    Ok(truths)
}

/// The same of a thread, while the main thread sleeps.
pub(crate) fn thread_uninterruptible(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, mut truths, pid) = described(stage)?;
    let thread = stage.vfork_in_thread(pair.holder)?;
    let waits = Reason::new("holder_uninterruptible").is("pid", pid).is("tid", thread);
    left_alone(stage, &pair, &mut truths, &waits)?;
    Ok(truths)
}

/// Six threads in four calls, the main thread in one that no other is in.
pub(crate) fn holder_sleeping(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, mut truths, pid) = described(stage)?;
    let Reply::Threads { count } = stage.ask(pair.holder, &Request::StartSleepers)? else {
        bail!("the number of threads was asked for");
    };
    stage.put_to_sleep(pair.holder, Sleep::Poll)?;
    let ended: Ended = stage.end_unseen(pair.peer)?;
    ended.happened_to(&mut truths);
    for truth in &mut truths {
        let sleeping = Reason::new("holder_sleeping").is("pid", pid).is("threads", count);
        truth.because(&[Reason::new("client_left"), sleeping], &NOT_KEPT);
    }
    Ok(truths)
}

/// What is said of nobody who merely sleeps.
const NOT_KEPT: [&str; 6] = [
    "holder_stopped",
    "holder_frozen",
    "holder_traced",
    "holder_uninterruptible",
    "holder_running",
    "spins_on_eof",
];

/// Nobody has read the end of file of the sockets.
fn described(stage: &mut Stage) -> Result<(Pair, Vec<Truth>, i32)> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = Ended::never(&pair.opened);
    let truths = stage.truths(Some("eof_unread"), 1, &pair.opened, &[pair.holder], &ended)?;
    let pid = stage.pid(pair.holder)?;
    Ok((pair, truths, pid))
}

fn left_alone(stage: &mut Stage, pair: &Pair, truths: &mut [Truth], kept: &Reason) -> Result<()> {
    stage.end_unseen(pair.peer)?.happened_to(truths);
    let never: Vec<&str> = NOT_KEPT.into_iter().filter(|id| *id != kept.id).collect();
    for truth in truths {
        truth.because(&[kept.clone(), Reason::new("client_left")], &never);
    }
    Ok(())
}
