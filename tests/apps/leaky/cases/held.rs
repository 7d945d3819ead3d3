//! Sockets that stay with the process that opened them.
//!
//! No descriptor changes hands here.

use super::{Accepting, Pair, accepted, connected};
use crate::message::{AcceptBy, Request};
use crate::stage::{Ended, Stage};
use crate::truth::{Reason, Truth};
use anyhow::Result;

/// What is not so where nothing is but the leak.
const NOT_FOR_ACCEPTED: [&str; 11] = [
    "connected",
    "idle_in_pool",
    "spins_on_eof",
    "holder_stopped",
    "holder_uninterruptible",
    "no_descriptors_left",
    "blocked_in_write",
    "behind_blocked_write",
    "waits_for_other_leg",
    "sends_to_nobody",
    "old_generation",
];
const NOT_FOR_CONNECTED: [&str; 7] = [
    "client_left",
    "idle_in_pool",
    "spins_on_eof",
    "waits_for_other_leg",
    "sends_to_nobody",
    "behind_blocked_write",
    "old_generation",
];

pub(crate) fn accepted_kept(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    read_and_keep(stage, &pair)
}

pub(crate) fn accepted_by_thread(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting { by: AcceptBy::NamedThread, ..Accepting::default() })?;
    read_and_keep(stage, &pair)
}

pub(crate) fn listener_closed(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.holder, &Request::CloseListener)?;
    read_and_keep(stage, &pair)
}

/// Nobody has read the end of file, and nothing listens where the connection was accepted.
pub(crate) fn eof_unread_listener_closed(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.holder, &Request::CloseListener)?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    Ok(left(stage.truths(Some("eof_unread"), 1, &pair.opened, &[pair.holder], &ended)?))
}

/// The main thread of the holder called pthread_exit(); a zombie stands for a process that goes on.
pub(crate) fn main_thread_ended(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let truths = read_and_keep(stage, &pair)?;
    stage.order(pair.holder, &Request::EndMainThread)?;
    Ok(truths)
}

/// The peer closes, the holder reads the end of file, and that is all.
pub(super) fn read_and_keep(stage: &mut Stage, pair: &Pair) -> Result<Vec<Truth>> {
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    stage.order(pair.holder, &Request::ReadToEnd)?;
    Ok(left(stage.truths(Some("eof_read"), 0, &pair.opened, &[pair.holder], &ended)?))
}

/// The same where the holder has other sockets too, whose peers have not closed.
pub(super) fn read_and_keep_some(stage: &mut Stage, pair: &Pair) -> Result<Vec<Truth>> {
    let mut ended = Ended::default();
    for one in &pair.opened {
        stage.end_one_seen_by(&mut ended, one.ends, pair.peer, pair.holder)?;
        stage.order(pair.holder, &Request::HearEnd { on: one.ends })?;
    }
    Ok(left(stage.truths(Some("eof_read"), 0, &pair.opened, &[pair.holder], &ended)?))
}

/// What can be said of a socket that its peer has left, and of which nothing else is known.
fn left(mut truths: Vec<Truth>) -> Vec<Truth> {
    for truth in &mut truths {
        if truth.opener.as_ref().is_some_and(|opener| opener.how == "accept") {
            truth.mentions(&[Reason::new("client_left")], &NOT_FOR_ACCEPTED);
        } else {
            truth.mentions(&[Reason::new("connected")], &NOT_FOR_CONNECTED);
        }
    }
    truths
}

pub(crate) fn eof_unread(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    // The FIN itself counts as one byte of Recv-Q until the application reads it.
    Ok(left(stage.truths(Some("eof_unread"), 1, &pair.opened, &[pair.holder], &ended)?))
}

pub(crate) fn data_unread(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.peer, &Request::Send { bytes: 100 })?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    Ok(left(stage.truths(Some("data_unread"), 101, &pair.opened, &[pair.holder], &ended)?))
}

/// The peer has shut down its sending side but goes on reading, and the holder goes on sending.
pub(crate) fn half_open(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = stage.half_end_seen_by(pair.peer, &[pair.holder])?;
    stage.order(pair.peer, &Request::KeepReading)?;
    stage.order(pair.holder, &Request::ReadToEnd)?;
    stage.order(pair.holder, &Request::KeepSending)?;
    let mut truths = stage.truths(Some("half_open"), 0, &pair.opened, &[pair.holder], &ended)?;
    for truth in &mut truths {
        truth.extra.not_because = vec!["sends_to_nobody", "blocked_in_write", "waits_for_other_leg"];
    }
    Ok(truths)
}

/// The peer has shut down its sending side and waits for the answer, which the holder never sends.
pub(crate) fn half_closed_awaited(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = stage.half_end_seen_by(pair.peer, &[pair.holder])?;
    stage.order(pair.peer, &Request::KeepReading)?;
    stage.order(pair.holder, &Request::ReadToEnd)?;
    stage.truths(Some("half_open"), 0, &pair.opened, &[pair.holder], &ended)
}

/// The holder's kernel asks each second whether the peer is still there, and the peer's kernel answers, though its
/// process has closed.
pub(crate) fn kept_alive(stage: &mut Stage) -> Result<Vec<Truth>> {
    stage.enter_network_namespace()?;
    // For longer than any test takes.
    stage.set_in_network_namespace("tcp_fin_timeout", "3600")?;
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.holder, &Request::KeepAlive)?;
    read_and_keep(stage, &pair)
}

pub(crate) fn connect_kept(stage: &mut Stage) -> Result<Vec<Truth>> {
    connect_and_keep(stage, false)
}

/// The leaking side is the client here; the server closes first.
pub(super) fn connect_and_keep(stage: &mut Stage, mptcp: bool) -> Result<Vec<Truth>> {
    let pair = connected(stage, stage.setting.count, mptcp)?;
    read_and_keep(stage, &pair)
}

/// A program without the bug: nothing may be reported about it.
pub(crate) fn closed_in_time(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    stage.order(pair.holder, &Request::ReadToEnd)?;
    let (before, after) = stage.release()?;
    let mut truths = stage.truths(None, 0, &pair.opened, &[pair.holder], &ended)?;
    for truth in &mut truths {
        truth.extra.left_before_ns = Some(before);
        truth.extra.left_after_ns = Some(after);
    }
    Ok(truths)
}
