//! Connections that the kernel took and no application ever accepted.
//!
//! No process can ask such a socket anything; what is known comes from the peer and the listener.

use super::{listen, listen_somewhere};
use crate::message::{Ends, Reply, Request};
use crate::socket::LIMIT;
use crate::stage::{Role, Stage, WorkerId};
use crate::truth::{Opened, Reason, Truth, UsedBy};
use crate::worker::Equipment;
use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Only the FIN is in the receive queue.
pub(super) const RECV_Q: u32 = 1;

pub(crate) fn never_accepted(stage: &mut Stage) -> Result<Vec<Truth>> {
    in_one_queue(stage, 0)
}

/// A master that listens and two children that inherit the listener; any of them could accept.
pub(crate) fn never_accepted_prefork(stage: &mut Stage) -> Result<Vec<Truth>> {
    in_one_queue(stage, 2)
}

fn in_one_queue(stage: &mut Stage, children: usize) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start_with(Role::Holder, children, Equipment::default())?;
    let address = listen_somewhere(stage, holder)?;
    let mut holders = vec![holder];
    for _ in 0..children {
        holders.push(stage.fork(holder, false)?);
    }
    let count = stage.setting.count;
    let opened = knock(stage, peer, address, count)?;
    await_backlog(stage, &[holder], count)?;
    let ended = stage.end_unseen(peer)?;
    let mut truths = stage.truths(Some("never_accepted"), RECV_Q, &opened, &holders, &ended)?;
    for truth in &mut truths {
        let queue = Reason::new("accept_queue").is("used", count).at_least("limit", 1).at_least("for_ns", 1);
        truth.mentions(&[queue], &["no_descriptors_left", "client_left", "old_generation"]);
    }
    Ok(truths)
}

/// Two workers listen on one port; the kernel puts each connection into the queue of one of them,
/// which is found out by connecting one at a time and looking whose queue has grown.
pub(crate) fn never_accepted_reuseport(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let workers = [stage.start(Role::Holder)?, stage.start(Role::Holder)?];
    let mut address = stage.setting.family.own_address();
    for worker in workers {
        let request = Request::Listen { address, share_port: true, mptcp: false };
        let dialled = listen(stage, worker, &request)?;
        address.set_port(dialled.port());
    }
    let dialled = SocketAddr::new(stage.setting.family.peer_address().ip(), address.port());
    let mut queued: [Vec<Opened>; 2] = Default::default();
    for already in 0..stage.setting.count {
        let opened = knock(stage, peer, dialled, 1)?;
        let lengths = await_backlog(stage, &workers, already + 1)?;
        for (queue, length) in queued.iter_mut().zip(lengths) {
            if queue.len() < length {
                queue.extend(opened.iter().cloned());
            }
        }
    }
    let ended = stage.end_unseen(peer)?;
    let mut truths = Vec::new();
    for (worker, opened) in workers.into_iter().zip(queued) {
        truths.extend(stage.truths(Some("never_accepted"), RECV_Q, &opened, &[worker], &ended)?);
    }
    Ok(truths)
}

/// A worker listens at a wildcard, and connections wait in its queue before another one listens at the very address that
/// was dialled: those that come then wait for the other one.
pub(crate) fn never_accepted_wildcard(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let workers = [stage.start(Role::Holder)?, stage.start(Role::Holder)?];
    let mut dialled = stage.setting.family.peer_address();
    let mut queued = Vec::new();
    for (nth, worker) in workers.into_iter().enumerate() {
        let at = if nth == 0 { stage.setting.family.wildcard() } else { dialled };
        let address = SocketAddr::new(at.ip(), dialled.port());
        let listening = listen(stage, worker, &Request::Listen { address, share_port: true, mptcp: false })?;
        dialled.set_port(listening.port());
        queued.push((worker, knock(stage, peer, dialled, stage.setting.count)?));
        await_backlog(stage, &workers[..=nth], queued.len() * stage.setting.count)?;
    }
    let ended = stage.end_unseen(peer)?;
    let mut truths = Vec::new();
    for (worker, opened) in queued {
        truths.extend(stage.truths(Some("never_accepted"), RECV_Q, &opened, &[worker], &ended)?);
    }
    Ok(truths)
}

/// The listener is on its way to a process that has not asked for it yet.
pub(crate) fn listener_in_flight(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (passage_out, passage_in) = UnixStream::pair()?;
    let (passage_out, passage_in) = (Some(passage_out), Some(passage_in));
    let equipment = Equipment { passage_out, passage_in, ..Equipment::default() };
    let (_, mut truths) = without_listener(stage, equipment, &Request::PassOn)?;
    for truth in &mut truths {
        truth.because(&[Reason::new("in_flight"), Reason::new("accept_queue")], &["nobody_accepts"]);
    }
    Ok(truths)
}

/// A ring has the listener among its files, and nobody a descriptor of it.
pub(crate) fn listener_in_ring(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (holder, mut truths) = without_listener(stage, Equipment::default(), &Request::RegisterInRing)?;
    let pid = stage.pid(holder)?;
    for truth in &mut truths {
        truth.extra.used_by = Some(UsedBy { pid, evidence: "io_uring" });
        truth.mentions(&[Reason::new("accept_queue")], &["in_flight"]);
    }
    Ok(truths)
}

/// Connections wait for a listener that its holder then gives away.
fn without_listener(
    stage: &mut Stage,
    equipment: Equipment,
    give_away: &Request,
) -> Result<(WorkerId, Vec<Truth>)> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start_with(Role::Holder, 0, equipment)?;
    let address = listen_somewhere(stage, holder)?;
    let count = stage.setting.count;
    let opened = knock(stage, peer, address, count)?;
    await_backlog(stage, &[holder], count)?;
    stage.order(holder, give_away)?;
    let ended = stage.end_unseen(peer)?;
    Ok((holder, stage.truths(Some("never_accepted"), RECV_Q, &opened, &[holder], &ended)?))
}

/// Connects; what is known of the other ends is only where they are.
pub(super) fn knock(
    stage: &mut Stage,
    peer: WorkerId,
    address: SocketAddr,
    count: usize,
) -> Result<Vec<Opened>> {
    stage.tell(peer, &Request::Connect { address, count, mptcp: false })?;
    let knocked = stage.hear_opened(peer, peer, "connect")?;
    let other_end = |one: Opened| {
        let ends: Ends = one.ends.flipped();
        Opened { ends, cookie: None, opener: None, peer_pid: one.peer_pid }
    };
    Ok(knocked.into_iter().map(other_end).collect())
}

/// Waits until `total` connections are queued at these listeners, and says how many at each.
pub(super) fn await_backlog(stage: &mut Stage, workers: &[WorkerId], total: usize) -> Result<Vec<usize>> {
    let until = Instant::now() + LIMIT;
    loop {
        let mut lengths = Vec::new();
        for &worker in workers {
            let Reply::Waiting { count } = stage.ask(worker, &Request::Backlog)? else {
                bail!("the length of a queue was asked for");
            };
            lengths.push(usize::try_from(count)?);
        }
        if lengths.iter().sum::<usize>() == total {
            return Ok(lengths);
        }
        if Instant::now() > until {
            bail!("awaited {total} connections in the listeners' queues, there are {lengths:?}");
        }
        // The last packet of a handshake is handled after connect has returned.
        std::thread::sleep(Duration::from_millis(1));
    }
}
