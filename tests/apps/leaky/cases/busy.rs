//! Holders that never sleep: because the end of file wakes them, or because they work.
//!
//! Both have the processor; what they do with it differs.

use super::{Accepting, accepted};
use crate::message::{Reply, Request, Work};
use crate::stage::Stage;
use crate::truth::{Reason, Truth};
use anyhow::{Result, bail};

/// An event loop that asks for level-triggered events and does not read.
pub(crate) fn spins_on_eof(stage: &mut Stage) -> Result<Vec<Truth>> {
    busy(stage, Work::PollEof, false)
}

/// A loop that takes the end of file for no data yet.
pub(crate) fn spins_reading_eof(stage: &mut Stage) -> Result<Vec<Truth>> {
    busy(stage, Work::ReadEof, false)
}

/// The same, of which little time is in the kernel: it is interpreted, or does something with each nothing.
pub(crate) fn spins_reading_slowly(stage: &mut Stage) -> Result<Vec<Truth>> {
    busy(stage, Work::ReadEofSlowly, false)
}

/// Not the main thread, which sleeps.
pub(crate) fn spins_in_thread(stage: &mut Stage) -> Result<Vec<Truth>> {
    busy(stage, Work::PollEof, true)
}

pub(crate) fn computes(stage: &mut Stage) -> Result<Vec<Truth>> {
    busy(stage, Work::Compute, false)
}

/// Most of its time passes in the kernel, and has nothing to do with any socket.
pub(crate) fn computes_in_kernel(stage: &mut Stage) -> Result<Vec<Truth>> {
    busy(stage, Work::ComputeInKernel, false)
}

/// It spins, but not on the sockets.
pub(crate) fn spins_on_pipe(stage: &mut Stage) -> Result<Vec<Truth>> {
    busy(stage, Work::PollPipe, false)
}

/// The same without an event loop, which the kernel would tell about.
pub(crate) fn spins_on_polled_pipe(stage: &mut Stage) -> Result<Vec<Truth>> {
    busy(stage, Work::PollPipeAlone, false)
}

fn busy(stage: &mut Stage, with: Work, in_thread: bool) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    let reads = matches!(with, Work::ReadEof | Work::ReadEofSlowly);
    let (verdict, recv_q) = if reads { ("eof_read", 0) } else { ("eof_unread", 1) };
    let mut truths = stage.truths(Some(verdict), recv_q, &pair.opened, &[pair.holder], &ended)?;
    let nice = stage.setting.nice;
    let begin = Request::Busy { with, in_thread, nice };
    let Reply::Working { thread } = stage.ask(pair.holder, &begin)? else { bail!("a thread was asked for") };
    let pid = stage.pid(pair.holder)?;
    let about =
        |id| Reason::new(id).is("pid", pid).is("tid", thread).at_least("cpu_ns", 1).at_least("within_ns", 1);
    for truth in &mut truths {
        if reads || with == Work::PollEof {
            truth.because(&[about("spins_on_eof"), Reason::new("client_left")], &["holder_uninterruptible"]);
        } else {
            let reasons = [about("holder_running"), Reason::new("client_left")];
            truth.mentions(&reasons, &["spins_on_eof", "holder_uninterruptible"]);
        }
    }
    Ok(truths)
}
