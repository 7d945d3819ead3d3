//! Processes that write to peers who do not take it: because they are gone, or because they do not read.
//!
//! The peers of most are on a host elsewhere, where a tool cannot look.

use super::{dialled, listen_elsewhere, listen_somewhere};
use crate::message::{Request, Sleep};
use crate::stage::{Ended, Role, Stage, WorkerId};
use crate::truth::{Opened, Reason, Truth};
use anyhow::{Context as _, Result};

/// The peer has closed, and then its host is gone: nothing is acknowledged, and no reset comes.
pub(crate) fn sends_to_nobody(stage: &mut Stage) -> Result<Vec<Truth>> {
    let wire = stage.enter_network_with_host_elsewhere()?;
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let count = stage.setting.count;
    let address = listen_elsewhere(stage, holder)?;
    let opened = dialled(stage, holder, peer, address, count)?;
    let ended = stage.end_seen_by(peer, &[holder])?;
    stage.order(holder, &Request::ReadToEnd)?;
    stage.order(wire, &Request::CutWire)?;
    stage.order(holder, &Request::KeepSending)?;
    let mut truths = stage.truths(Some("eof_read"), 0, &opened, &[holder], &ended)?;
    for truth in &mut truths {
        truth.extra.peer_is_elsewhere = true;
        truth.because(&[Reason::new("sends_to_nobody").at_least("bytes", 1)], &["blocked_in_write"]);
    }
    Ok(truths)
}

/// The same of one answer, after which the holder says nothing more.
pub(crate) fn answers_nobody(stage: &mut Stage) -> Result<Vec<Truth>> {
    const ANSWER: &[u8] = b"an answer that comes too late";
    let wire = stage.enter_network_with_host_elsewhere()?;
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let address = listen_elsewhere(stage, holder)?;
    let opened = dialled(stage, holder, peer, address, 1)?;
    let ended = stage.end_seen_by(peer, &[holder])?;
    stage.order(holder, &Request::ReadToEnd)?;
    stage.order(wire, &Request::CutWire)?;
    let on = opened.first().context("a connection")?.ends;
    stage.order(holder, &Request::Say { on, bytes: ANSWER.to_vec() })?;
    let mut truths = stage.truths(Some("eof_read"), 0, &opened, &[holder], &ended)?;
    for truth in &mut truths {
        truth.extra.peer_is_elsewhere = true;
        truth.because(&[Reason::new("sends_to_nobody").is("bytes", ANSWER.len())], &["blocked_in_write"]);
    }
    Ok(truths)
}

/// The peer elsewhere has ended its sending half alone, and acknowledges all that the holder goes on sending.
pub(crate) fn half_open_elsewhere(stage: &mut Stage) -> Result<Vec<Truth>> {
    stage.enter_network_with_host_elsewhere()?;
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let count = stage.setting.count;
    let address = listen_elsewhere(stage, holder)?;
    let opened = dialled(stage, holder, peer, address, count)?;
    let ended = stage.half_end_seen_by(peer, &[holder])?;
    stage.order(peer, &Request::KeepReading)?;
    stage.order(holder, &Request::ReadToEnd)?;
    stage.order(holder, &Request::KeepSending)?;
    let mut truths = stage.truths(Some("half_open"), 0, &opened, &[holder], &ended)?;
    for truth in &mut truths {
        truth.extra.peer_is_elsewhere = true;
        truth.extra.not_because = vec!["sends_to_nobody", "blocked_in_write", "waits_for_other_leg"];
    }
    Ok(truths)
}

/// The holder's only thread blocks in send() on one connection; then the peers of two others send and close.
pub(crate) fn behind_blocked_write(stage: &mut Stage) -> Result<Vec<Truth>> {
    let holder = stage.start(Role::Holder)?;
    let (reader, peer) = (stage.start(Role::Bystander)?, stage.start(Role::Peer)?);
    let address = listen_somewhere(stage, holder)?;
    let blocked = dialled(stage, holder, reader, address, 1)?;
    let others = dialled(stage, holder, peer, address, 2)?;
    let mut starved = starved(stage, holder, &others, &blocked)?;
    block(stage, holder, &blocked, reader)?;
    end_others(stage, peer, &mut starved)?;
    Ok(starved)
}

/// The same, where the connection that blocks comes to CLOSE_WAIT itself: its peer, elsewhere, ends its sending half and
/// still does not read.
pub(crate) fn blocked_in_write(stage: &mut Stage) -> Result<Vec<Truth>> {
    stage.enter_network_with_host_elsewhere()?;
    let holder = stage.start(Role::Holder)?;
    let (reader, peer) = (stage.start(Role::Peer)?, stage.start(Role::Peer)?);
    let address = listen_elsewhere(stage, holder)?;
    let blocked = dialled(stage, holder, reader, address, 1)?;
    let others = dialled(stage, holder, peer, address, 2)?;
    let mut cause = stage.truths(Some("eof_unread"), 1, &blocked, &[holder], &Ended::never(&blocked))?;
    let mut starved = starved(stage, holder, &others, &blocked)?;
    block(stage, holder, &blocked, reader)?;
    stage.half_end_unseen(reader)?.happened_to(&mut cause);
    end_others(stage, peer, &mut starved)?;
    for truth in &mut cause {
        let blocked = Reason::new("blocked_in_write").at_least("bytes", 1);
        truth.because(&[blocked], &["behind_blocked_write", "sends_to_nobody"]);
    }
    let mut truths = [cause, starved].concat();
    for truth in &mut truths {
        truth.extra.peer_is_elsewhere = true;
    }
    Ok(truths)
}

/// The queue of one connection is as full, but nobody blocks: the holder would be told when there is room.
pub(crate) fn full_but_not_blocked(stage: &mut Stage) -> Result<Vec<Truth>> {
    let holder = stage.start(Role::Holder)?;
    let (reader, peer) = (stage.start(Role::Bystander)?, stage.start(Role::Peer)?);
    let address = listen_somewhere(stage, holder)?;
    let full = dialled(stage, holder, reader, address, 1)?;
    let others = dialled(stage, holder, peer, address, 2)?;
    let mut truths = stage.truths(Some("data_unread"), 101, &others, &[holder], &Ended::never(&others))?;
    stage.fill(holder, full.first().context("a connection")?.ends)?;
    stage.put_to_sleep(holder, Sleep::Poll)?;
    end_others(stage, peer, &mut truths)?;
    for truth in &mut truths {
        truth.because(&[Reason::new("client_left")], &["behind_blocked_write", "blocked_in_write"]);
    }
    Ok(truths)
}

fn block(stage: &mut Stage, holder: WorkerId, blocked: &[Opened], reader: WorkerId) -> Result<()> {
    stage.block_in_send(holder, blocked.first().context("a connection")?.ends, reader)
}

fn end_others(stage: &mut Stage, peer: WorkerId, starved: &mut [Truth]) -> Result<()> {
    stage.order(peer, &Request::Send { bytes: 100 })?;
    stage.end_unseen(peer)?.happened_to(starved);
    Ok(())
}

/// Sockets whose holder is about to block in send() on another.
fn starved(stage: &mut Stage, holder: WorkerId, others: &[Opened], blocked: &[Opened]) -> Result<Vec<Truth>> {
    let ends = blocked.first().context("a connection")?.ends;
    let (pid, fd) = (stage.pid(holder)?, stage.descriptor(holder, ends)?);
    let mut truths = stage.truths(Some("data_unread"), 101, others, &[holder], &Ended::never(others))?;
    let behind = Reason::new("behind_blocked_write").is("pid", pid).is("fd", fd);
    let behind = behind.is("address", ends.remote.to_string()).at_least("bytes", 1);
    for truth in &mut truths {
        truth.because(
            std::slice::from_ref(&behind),
            &["blocked_in_write", "waits_for_other_leg", "old_generation"],
        );
    }
    Ok(truths)
}
