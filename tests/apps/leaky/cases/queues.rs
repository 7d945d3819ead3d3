//! Why connections wait in a queue: no descriptors are left, or nobody is there to accept.
//!
//! All of them are never accepted; what differs is the listener's holder.

use super::unaccepted::{RECV_Q, await_backlog, knock};
use super::{Accepting, accepted, dialled, held, listen_somewhere};
use crate::message::{AcceptBy, Request, Sleep};
use crate::stage::{Ended, Role, Stage, WorkerId};
use crate::truth::{Reason, Truth};
use crate::worker::Equipment;
use anyhow::{Context as _, Result};

/// The kernel lets one more wait than this.
const SHORT: i32 = 2;

/// Descriptors of a process that has no more.
const FEW: u64 = 64;

/// As many wait as can.
pub(crate) fn accept_queue_full(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let queue = queued(stage, holder, peer, Some(SHORT), 3)?;
    ended(stage, holder, peer, queue, |truth, _| {
        let queue = Reason::new("accept_queue").is("used", 3).is("limit", SHORT).at_least("for_ns", 1);
        truth.mentions(&[queue], &["no_descriptors_left", "holder_stopped", "client_left"]);
    })
}

/// accept() is called, and refused.
pub(crate) fn no_descriptors_left(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let queue = queued(stage, holder, peer, None, 1)?;
    stage.order(holder, &Request::UseUpDescriptors { limit: FEW })?;
    ended(stage, holder, peer, queue, |truth, pid| {
        let none_left = Reason::new("no_descriptors_left").is("pid", pid).is("used", FEW).is("limit", FEW);
        truth.because(&[none_left, Reason::new("accept_queue").is("used", 1)], &["nobody_accepts"]);
    })
}

/// The leak that uses them up, in a process that has no more.
pub(crate) fn leaks_all_descriptors(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    stage.order(pair.holder, &Request::UseUpDescriptors { limit: FEW })?;
    let mut truths = held::read_and_keep(stage, &pair)?;
    let pid = stage.pid(pair.holder)?;
    for truth in &mut truths {
        let none_left = Reason::new("no_descriptors_left").is("pid", pid).is("used", FEW).is("limit", FEW);
        truth.mentions(&[none_left, Reason::new("client_left")], &["nobody_accepts", "accept_queue"]);
    }
    Ok(truths)
}

/// The child that accepted is gone; its parent has the listener, and waits for something else.
pub(crate) fn nobody_accepts(stage: &mut Stage) -> Result<Vec<Truth>> {
    let holder = stage.start_with(Role::Holder, 1, Equipment::default())?;
    let (before, peer) = (stage.start(Role::Bystander)?, stage.start(Role::Peer)?);
    let address = listen_somewhere(stage, holder)?;
    let child = stage.fork(holder, false)?;
    stage.tell(child, &Request::Accept { count: 1, by: AcceptBy::MainThread })?;
    stage.ask(before, &Request::Connect { address, count: 1, mptcp: false })?;
    stage.hear_opened(child, before, "accept")?;
    stage.order(before, &Request::CloseSockets)?;
    stage.dismiss_child(holder, child)?;
    let opened = knock(stage, peer, address, 1)?;
    await_backlog(stage, &[holder], 1)?;
    let sleep = stage.setting.sleep;
    let queue = stage.truths(Some("never_accepted"), RECV_Q, &opened, &[holder], &Ended::never(&opened))?;
    stage.put_to_sleep(holder, sleep.call())?;
    ended(stage, holder, peer, queue, |truth, pid| {
        truth.because(
            &[Reason::new("nobody_accepts").is("pid", pid), Reason::new("accept_queue").is("used", 1)],
            &["no_descriptors_left", "old_generation"],
        );
    })
}

/// The holder waits for connections, and has missed the one that is there.
pub(crate) fn event_missed(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let queue = queued(stage, holder, peer, None, 1)?;
    stage.put_to_sleep(holder, Sleep::Epoll)?;
    ended(stage, holder, peer, queue, |truth, _| {
        let reasons = [Reason::new("accept_queue").is("used", 1)];
        truth.mentions(&reasons, &["nobody_accepts", "no_descriptors_left"]);
    })
}

/// The holder accepts one connection at a time, and waits for what that one says.
pub(crate) fn acceptor_stuck(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let mute = stage.start(Role::Bystander)?;
    let address = listen_somewhere(stage, holder)?;
    let accepted = dialled(stage, holder, mute, address, 1)?;
    let on = accepted.first().context("a connection")?.ends;
    let opened = knock(stage, peer, address, 2)?;
    await_backlog(stage, &[holder], 2)?;
    let queue = stage.truths(Some("never_accepted"), RECV_Q, &opened, &[holder], &Ended::never(&opened))?;
    stage.block_in_read(holder, on, mute)?;
    ended(stage, holder, peer, queue, |truth, pid| {
        let sleeps = Reason::new("holder_sleeping").is("pid", pid).is("threads", 1);
        let reasons = [Reason::new("accept_queue").is("used", 2), sleeps];
        truth.mentions(&reasons, &["nobody_accepts", "no_descriptors_left"]);
    })
}

/// Connections in the holder's queue; `limit` is the holder's own.
fn queued(
    stage: &mut Stage,
    holder: WorkerId,
    peer: WorkerId,
    limit: Option<i32>,
    count: usize,
) -> Result<Vec<Truth>> {
    let address = listen_somewhere(stage, holder)?;
    if let Some(to) = limit {
        stage.order(holder, &Request::LimitBacklog { to })?;
    }
    let opened = knock(stage, peer, address, count)?;
    await_backlog(stage, &[holder], count)?;
    stage.truths(Some("never_accepted"), RECV_Q, &opened, &[holder], &Ended::never(&opened))
}

/// The peer closes.
fn ended(
    stage: &mut Stage,
    holder: WorkerId,
    peer: WorkerId,
    mut queue: Vec<Truth>,
    judge: impl Fn(&mut Truth, i32),
) -> Result<Vec<Truth>> {
    stage.end_unseen(peer)?.happened_to(&mut queue);
    let pid = stage.pid(holder)?;
    for truth in &mut queue {
        judge(truth, pid);
    }
    Ok(queue)
}
