//! Relays, which leave one connection open because they wait for the end of another; and who only looks like them.
//!
//! The far end, which a relay waits for, has been told of the end and does nothing.

use super::{Pair, accept_some, connect_some, dialled, dialled_by, held, listen_elsewhere, listen_somewhere};
use crate::message::{Ends, Request, Sleep};
use crate::socket::State;
use crate::stage::{Ended, Role, Stage, WorkerId};
use crate::truth::{Opened, Reason, Truth};
use anyhow::{Context as _, Result};
use serde_json::Value;

/// Bytes that a relay leaves unread.
const UNREAD: usize = 100;

/// Several pairs at once.
const PAIRS: usize = 3;

/// Clients close, one after another; the relay passes each end on to a server that does not close.
pub(crate) fn relay_waits(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (relay, client) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let server = stage.start(Role::FarEnd)?;
    let accepted = accept_some(stage, relay, client, PAIRS)?;
    let dialled = connect_some(stage, relay, server, PAIRS)?;
    relayed(stage, relay, client, server, &accepted, dialled, None)
}

/// The server closes, and the relay passes the end on to clients that do not close.
pub(crate) fn relay_waits_for_clients(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (relay, server) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let client = stage.start(Role::FarEnd)?;
    let accepted = accept_some(stage, relay, client, PAIRS)?;
    let dialled = connect_some(stage, relay, server, PAIRS)?;
    relayed(stage, relay, server, client, &dialled, accepted, None)
}

/// The same where clients and servers are on other hosts: nobody can say who holds the far end.
pub(crate) fn relay_waits_elsewhere(stage: &mut Stage) -> Result<Vec<Truth>> {
    stage.enter_network_with_host_elsewhere()?;
    let (relay, client) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let server = stage.start(Role::FarEnd)?;
    let address = listen_elsewhere(stage, relay)?;
    let accepted = dialled(stage, relay, client, address, PAIRS)?;
    let address = listen_elsewhere(stage, server)?;
    let request = Request::Connect { address, count: PAIRS, mptcp: false };
    let connected = dialled_by(stage, relay, server, &request)?;
    let mut truths = relayed(stage, relay, client, server, &accepted, connected, None)?;
    for truth in &mut truths {
        truth.extra.peer_is_elsewhere = true;
    }
    waits_for_strangers(&mut truths);
    Ok(truths)
}

/// The host of the servers is gone: not even the end that the relay passes on is acknowledged.
pub(crate) fn relay_far_host_gone(stage: &mut Stage) -> Result<Vec<Truth>> {
    let wire = stage.enter_network_with_host_elsewhere()?;
    let (relay, client) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let server = stage.start(Role::FarEnd)?;
    let accepted = accept_some(stage, relay, client, PAIRS)?;
    let address = listen_elsewhere(stage, server)?;
    let request = Request::Connect { address, count: PAIRS, mptcp: false };
    let connected = dialled_by(stage, relay, server, &request)?;
    let mut truths = relayed(stage, relay, client, server, &accepted, connected, Some(wire))?;
    waits_for_strangers(&mut truths);
    Ok(truths)
}

/// The server reads nothing: what its client said last the relay, whose event loop can pass on no more, leaves unread.
pub(crate) fn relay_leg_full(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (relay, client) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let server = stage.start(Role::FarEnd)?;
    let near = accept_some(stage, relay, client, 1)?;
    let far = connect_some(stage, relay, server, 1)?;
    let [one, other] = [&near, &far].map(|opened| opened.first().map(|opened| opened.ends));
    let (one, other) = one.zip(other).context("a connection")?;
    // As many bytes go out as come in; that they are the same ones nobody sees.
    let passed_on = stage.fill(relay, other)?;
    stage.tell(client, &Request::Send { bytes: passed_on + UNREAD })?;
    stage.order(relay, &Request::Hear { on: one, bytes: passed_on })?;
    stage.hear(client)?;
    let mut truths = stage.truths(Some("data_unread"), 101, &near, &[relay], &Ended::never(&near))?;
    let behind = Reason::new("behind_blocked_write").is("pid", stage.pid(relay)?);
    let behind = behind.is("fd", stage.descriptor(relay, other)?);
    let behind = behind.is("address", other.remote.to_string()).at_least("bytes", 1);
    stage.put_to_sleep(relay, Sleep::Poll)?;
    stage.end_unseen(client)?.happened_to(&mut truths);
    for truth in &mut truths {
        truth.because(std::slice::from_ref(&behind), &["waits_for_other_leg", "blocked_in_write"]);
    }
    Ok(truths)
}

fn waits_for_strangers(truths: &mut [Truth]) {
    for reason in truths.iter_mut().flat_map(|truth| &mut truth.extra.because) {
        *reason = reason.clone().is("far_pid", Value::Null).is("far_comm", Value::Null);
    }
}

/// The peer closes the connections in `near` almost at once, and their other legs are `far`, the last for the first; the
/// wire to their host is cut before, if there is one.
fn relayed(
    stage: &mut Stage,
    relay: WorkerId,
    peer: WorkerId,
    far_end: WorkerId,
    near: &[Opened],
    mut far: Vec<Opened>,
    cut: Option<WorkerId>,
) -> Result<Vec<Truth>> {
    far.reverse();
    let pairs: Vec<(Ends, Ends)> = near.iter().zip(&far).map(|(near, far)| (near.ends, far.ends)).collect();
    stage.order(relay, &Request::Relay { pairs: pairs.clone() })?;
    let mut ended = Ended::default();
    // What they say to each other goes through the relay, and no two pairs say as much.
    for (at, (near, far)) in pairs.iter().enumerate() {
        let (question, answer) = (vec![b'q'; 100 + at], vec![b'a'; 3_000 - 7 * at]);
        stage.order(peer, &Request::Say { on: near.flipped(), bytes: question })?;
        stage.order(far_end, &Request::Hear { on: far.flipped(), bytes: 100 + at })?;
        stage.order(far_end, &Request::Say { on: far.flipped(), bytes: answer })?;
        stage.order(peer, &Request::Hear { on: near.flipped(), bytes: 3_000 - 7 * at })?;
    }
    if let Some(wire) = cut {
        stage.order(wire, &Request::CutWire)?;
    }
    let waiting = if cut.is_some() { State::FinWait1 } else { State::FinWait2 };
    for (near, far) in &pairs {
        stage.end_one_seen_by(&mut ended, *near, peer, relay)?;
        stage.await_one(relay, *far, waiting)?;
    }
    let mut truths = stage.truths(Some("eof_read"), 0, near, &[relay], &ended)?;
    let (pid, far_pid) = (stage.pid(relay)?, stage.pid(far_end)?);
    for (truth, (_, far)) in truths.iter_mut().zip(&pairs) {
        let waits = Reason::new("waits_for_other_leg").is("pid", pid);
        let waits = waits.is("fd", stage.descriptor(relay, *far)?).is("address", far.remote.to_string());
        let waits = waits.is("far_pid", far_pid).is("far_comm", "leaky-far");
        truth.because(&[waits], &["spins_on_eof", "old_generation"]);
    }
    Ok(truths)
}

/// A server that leaks some of its connections, and lingers on others until their clients close them.
pub(crate) fn leaks_beside_lingering(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let slow = stage.start(Role::FarEnd)?;
    let address = listen_somewhere(stage, holder)?;
    let lingering = dialled(stage, holder, slow, address, 2)?;
    let opened = dialled(stage, holder, peer, address, 2)?;
    for one in &lingering {
        stage.shut_down_one(holder, one.ends)?;
    }
    beside(stage, &Pair { holder, peer, opened })
}

/// A client that ends its sending half with each request and waits for the answers, and leaks what others have closed.
pub(crate) fn leaks_beside_half_closed_requests(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let slow = stage.start(Role::FarEnd)?;
    let asked = connect_some(stage, holder, slow, 2)?;
    let opened = connect_some(stage, holder, peer, 2)?;
    for one in &asked {
        stage.shut_down_one(holder, one.ends)?;
    }
    let mut truths = beside(stage, &Pair { holder, peer, opened })?;
    for truth in &mut truths {
        truth.because(&[Reason::new("connected")], &["waits_for_other_leg", "client_left"]);
    }
    Ok(truths)
}

fn beside(stage: &mut Stage, pair: &Pair) -> Result<Vec<Truth>> {
    let mut truths = held::read_and_keep_some(stage, pair)?;
    for truth in &mut truths {
        truth.because(&[Reason::new("client_left")], &["waits_for_other_leg", "connected"]);
    }
    Ok(truths)
}
