//! Sockets that ended up with another process than the one that opened them, or with none.
//!
//! The descriptor moves before the peer closes, as it does in real servers.

use super::{Accepting, Pair, accepted};
use crate::message::Request;
use crate::stage::{Ended, Role, Stage, WorkerId};
use crate::truth::{Opened, Reason, Truth, UsedBy};
use crate::worker::Equipment;
use anyhow::{Context as _, Result};
use std::os::unix::net::UnixStream;

pub(crate) fn dup_original_closed(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.holder, &Request::Duplicate)?;
    kept_by(stage, &pair, &[pair.holder])
}

pub(crate) fn fork_child_holds(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting { heirs: 1, ..Accepting::default() })?;
    let heir = stage.fork(pair.holder, false)?;
    stage.order(pair.holder, &Request::CloseSockets)?;
    kept_by(stage, &pair, &[heir])
}

pub(crate) fn fork_both_hold(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting { heirs: 1, ..Accepting::default() })?;
    let heir = stage.fork(pair.holder, false)?;
    kept_by(stage, &pair, &[pair.holder, heir])
}

/// A server that starts a helper program without having set close-on-exec.
pub(crate) fn exec_inherited(stage: &mut Stage) -> Result<Vec<Truth>> {
    let program = stage.program("leaky-program", true)?;
    let pair = accepted(stage, Accepting { heirs: 1, ..Accepting::default() })?;
    let heir = stage.fork(pair.holder, false)?;
    stage.order(heir, &Request::Exec { program, listener: false })?;
    stage.order(pair.holder, &Request::CloseSockets)?;
    let mut truths = kept_by(stage, &pair, &[heir])?;
    let pid = stage.pid(heir)?;
    for truth in &mut truths {
        truth.because(&[Reason::new("inherited").is("pid", pid)], &["old_generation", "idle_in_pool"]);
    }
    Ok(truths)
}

/// The opener itself becomes another program, under the same pid.
pub(crate) fn exec_renamed(stage: &mut Stage) -> Result<Vec<Truth>> {
    let program = stage.program("leaky-renamed", false)?;
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.holder, &Request::Exec { program, listener: false })?;
    kept_by(stage, &pair, &[pair.holder])
}

pub(crate) fn opener_exited(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, heir) = inherited_from_the_dead(stage)?;
    kept_by(stage, &pair, &[heir])
}

/// The socket is on its way to another process when the peer closes, and then the opener dies: no process is left that
/// the tool could ask.
pub(crate) fn opener_died(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, receiver) = passed_on(stage)?;
    let ended = stage.end_unseen(pair.peer)?;
    stage.dismiss(pair.holder)?;
    stage.truths(Some("no_holder"), 1, &pair.opened, &[receiver], &ended)
}

/// The opener exits, and then a stranger gets its pid.
pub(crate) fn pid_reused(stage: &mut Stage) -> Result<Vec<Truth>> {
    let program = stage.program("bystander", false)?;
    let (pair, heir) = inherited_from_the_dead(stage)?;
    let opener = pair.opened.first().and_then(|one| one.opener.as_ref()).context("no opener")?;
    let bystander = stage.start_with_pid(opener.pid, &program)?;
    let mut truths = kept_by(stage, &pair, &[heir])?;
    for truth in &mut truths {
        truth.extra.bystander_pid = Some(stage.pid(bystander)?);
    }
    Ok(truths)
}

/// The opener forks and exits; the child goes on with the sockets.
fn inherited_from_the_dead(stage: &mut Stage) -> Result<(Pair, WorkerId)> {
    let pair = accepted(stage, Accepting { heirs: 1, ..Accepting::default() })?;
    let heir = stage.fork(pair.holder, true)?;
    stage.dismiss(pair.holder)?;
    stage.order(heir, &Request::AwaitParent { parent: std::process::id().cast_signed() })?;
    Ok((pair, heir))
}

pub(crate) fn scm_rights_sender_closed(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (pair, receiver) = passed_on(stage)?;
    stage.order(receiver, &Request::Receive { count: pair.opened.len() })?;
    kept_by(stage, &pair, &[receiver])
}

/// The sockets are on their way to a process that has not asked for them yet.
fn passed_on(stage: &mut Stage) -> Result<(Pair, WorkerId)> {
    let (passage_out, passage_in) = UnixStream::pair()?;
    let equipment = Equipment { passage_in: Some(passage_in), ..Equipment::default() };
    let receiver = stage.start_with(Role::Holder, 0, equipment)?;
    let equipment = Equipment { passage_out: Some(passage_out), ..Equipment::default() };
    let pair = accepted(stage, Accepting { equipment, ..Accepting::default() })?;
    stage.order(pair.holder, &Request::PassOn)?;
    Ok((pair, receiver))
}

pub(crate) fn scm_rights_in_flight(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (passage_out, passage_in) = UnixStream::pair()?;
    let (passage_out, passage_in) = (Some(passage_out), Some(passage_in));
    let equipment = Equipment { passage_out, passage_in, ..Equipment::default() };
    let pair = accepted(stage, Accepting { equipment, ..Accepting::default() })?;
    stage.order(pair.holder, &Request::PassOn)?;
    let mut truths = kept_by_nobody(stage, &pair)?;
    for truth in &mut truths {
        truth.because(&[Reason::new("in_flight")], &["client_left", "inherited"]);
    }
    Ok(truths)
}

pub(crate) fn io_uring_fixed(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.holder, &Request::RegisterInRing)?;
    let truths = kept_by_nobody(stage, &pair)?;
    used_by(stage, &pair, "io_uring", truths)
}

pub(crate) fn io_uring_request(stage: &mut Stage) -> Result<Vec<Truth>> {
    used_without_descriptor(stage, &Request::SendInRing, "io_uring")
}

/// Only a mapping of the memory that received data is to appear in keeps the sockets.
pub(crate) fn mapped_only(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.holder, &Request::MapSockets)?;
    let truths = kept_by_nobody(stage, &pair)?;
    used_by(stage, &pair, "mapped", truths)
}

pub(crate) fn closed_in_call(stage: &mut Stage) -> Result<Vec<Truth>> {
    used_without_descriptor(stage, &Request::SendInThread, "in_call")
}

/// The peer has shut down its sending half and reads nothing; what the holder sends does not come to an end.
fn used_without_descriptor(
    stage: &mut Stage,
    request: &Request,
    evidence: &'static str,
) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = stage.half_end_seen_by(pair.peer, &[pair.holder])?;
    stage.order(pair.holder, request)?;
    let truths = stage.truths(Some("no_holder"), 1, &pair.opened, &[pair.holder], &ended)?;
    used_by(stage, &pair, evidence, truths)
}

/// No descriptor leads to the sockets any more, and the process uses them all the same.
fn used_by(
    stage: &mut Stage,
    pair: &Pair,
    evidence: &'static str,
    mut truths: Vec<Truth>,
) -> Result<Vec<Truth>> {
    let pid = stage.pid(pair.holder)?;
    for truth in &mut truths {
        truth.extra.used_by = Some(UsedBy { pid, evidence });
    }
    Ok(truths)
}

/// The peer closes, a holder reads the end of file, and all of them keep the socket.
fn kept_by(stage: &mut Stage, pair: &Pair, holders: &[WorkerId]) -> Result<Vec<Truth>> {
    let ended = stage.end_seen_by(pair.peer, holders)?;
    let reader = holders.first().context("nobody holds it")?;
    stage.order(*reader, &Request::ReadToEnd)?;
    stage.truths(Some("eof_read"), 0, &pair.opened, holders, &ended)
}

/// Without a descriptor nobody can read the end of file either.
fn kept_by_nobody(stage: &mut Stage, pair: &Pair) -> Result<Vec<Truth>> {
    let ended: Ended = stage.end_unseen(pair.peer)?;
    let opened: &[Opened] = &pair.opened;
    stage.truths(Some("no_holder"), 1, opened, &[pair.holder], &ended)
}
