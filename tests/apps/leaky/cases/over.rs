//! Descriptors of connections that are over, and of sockets that never were connected, which are no leak of that kind.
//!
//! The kernel lists none of them.

use super::{Accepting, accepted, listen};
use crate::message::{AcceptBy, Request};
use crate::stage::{Ended, Role, Stage};
use crate::truth::Truth;
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};

const VERDICT: Option<&str> = Some("connection_over");

/// The peer resets the connection, and the holder keeps the descriptor.
pub(crate) fn reset_kept(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = stage.reset_seen_by(pair.peer, pair.holder)?;
    let truths = stage.truths(VERDICT, 0, &pair.opened, &[pair.holder], &ended)?;
    Ok(ended_by(truths, "reset"))
}

/// An administrator destroys the socket under the holder.
pub(crate) fn destroyed_kept(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    let ended = stage.destroy(&pair.opened, pair.holder)?;
    // Which resets the peer, who has done nothing wrong.
    stage.order(pair.peer, &Request::CloseSockets)?;
    let truths = stage.truths(VERDICT, 0, &pair.opened, &[pair.holder], &ended)?;
    Ok(ended_by(truths, "destroyed"))
}

/// Both sides end their sending half, one after the other, and the holder does not close.
pub(crate) fn shut_down_both_kept(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting::default())?;
    stage.half_end_seen_by(pair.peer, &[pair.holder])?;
    stage.order(pair.holder, &Request::ReadToEnd)?;
    let ended = stage.shut_down_to_the_end(pair.holder)?;
    stage.order(pair.peer, &Request::CloseSockets)?;
    stage.truths(VERDICT, 0, &pair.opened, &[pair.holder], &ended)
}

/// Sockets in state CLOSE of which none may be reported: new, bound, refused, disconnected, and one that listened.
pub(crate) fn never_connected(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start(Role::Holder)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = listen(stage, peer, &Request::Listen { address, share_port: false, mptcp: false })?;
    stage.tell(peer, &Request::Accept { count: 1, by: AcceptBy::MainThread })?;
    stage.ask(holder, &Request::Connect { address, count: 1, mptcp: false })?;
    stage.hear(peer)?;
    stage.tell(holder, &Request::NeverConnect)?;
    let opened = stage.hear_opened(holder, peer, "connect")?;
    // Disconnecting resets the peer, who has done nothing wrong.
    stage.order(peer, &Request::CloseSockets)?;
    let pid = stage.pid(holder)?;
    let mut truths = stage.truths(None, 0, &opened, &[holder], &Ended::never(&opened))?;
    for truth in &mut truths {
        truth.extra.bystander_pid = Some(pid);
    }
    Ok(truths)
}

fn ended_by(mut truths: Vec<Truth>, how: &'static str) -> Vec<Truth> {
    for truth in &mut truths {
        truth.extra.ended = Some(how);
    }
    truths
}
