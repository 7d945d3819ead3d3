//! Processes that no longer listen where their sockets were accepted, and what became of the listener.
//!
//! Old generations drain; a child that serves one connection only looks like one.

use super::{Accepting, Pair, accept_some, accepted, connected, dialled, goodbyes, held, listen};
use crate::message::Request;
use crate::stage::{Ended, Role, Stage, WorkerId};
use crate::truth::{Reason, Truth};
use anyhow::{Context as _, Result};
use std::net::SocketAddr;

/// A newer process of the same program listens at the same port, which both share.
pub(crate) fn old_generation(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let own = stage.setting.family.own_address();
    let listening = |address| Request::Listen { address, share_port: true, mptcp: false };
    let address = listen(stage, holder, &listening(own))?;
    let opened = dialled(stage, holder, peer, address, stage.setting.count)?;
    stage.await_later_start(holder)?;
    let newer = stage.start(Role::Holder)?;
    listen(stage, newer, &listening(SocketAddr::new(own.ip(), address.port())))?;
    drains(stage, &Pair { holder, peer, opened }, newer)
}

/// A newer process has inherited the listener.
pub(crate) fn old_generation_inherited(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting { heirs: 1, ..Accepting::default() })?;
    stage.await_later_start(pair.holder)?;
    let newer = stage.fork(pair.holder, false)?;
    stage.order(newer, &Request::CloseSockets)?;
    same_name(stage, newer)?;
    drains(stage, &pair, newer)
}

/// An upgrade: the newer process executes what lies at the path of the program now.
pub(crate) fn old_generation_upgraded(stage: &mut Stage) -> Result<Vec<Truth>> {
    let program = stage.program("leaky-server", true)?;
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    stage.order(holder, &Request::Exec { program: program.clone(), listener: false })?;
    let own = stage.setting.family.own_address();
    let listening = |address| Request::Listen { address, share_port: true, mptcp: false };
    let address = listen(stage, holder, &listening(own))?;
    let opened = dialled(stage, holder, peer, address, stage.setting.count)?;
    std::fs::remove_file(&program)?;
    let program = stage.program("leaky-server", true)?;
    stage.await_later_start(holder)?;
    let newer = stage.start(Role::Holder)?;
    stage.order(newer, &Request::Exec { program, listener: false })?;
    listen(stage, newer, &listening(SocketAddr::new(own.ip(), address.port())))?;
    drains(stage, &Pair { holder, peer, opened }, newer)
}

/// A newer process has inherited the listener across exec.
pub(crate) fn old_generation_handed_on(stage: &mut Stage) -> Result<Vec<Truth>> {
    let program = std::env::current_exe()?;
    let pair = accepted(stage, Accepting { heirs: 1, ..Accepting::default() })?;
    stage.await_later_start(pair.holder)?;
    let newer = stage.fork(pair.holder, false)?;
    stage.order(newer, &Request::CloseSockets)?;
    stage.order(newer, &Request::Exec { program, listener: true })?;
    same_name(stage, newer)?;
    drains(stage, &pair, newer)
}

/// Generations of a program are called the same.
fn same_name(stage: &mut Stage, newer: WorkerId) -> Result<()> {
    stage.order(newer, &Request::Rename { name: Role::Holder.comm().to_owned() })
}

fn drains(stage: &mut Stage, pair: &Pair, newer: WorkerId) -> Result<Vec<Truth>> {
    stage.order(pair.holder, &Request::CloseListener)?;
    let mut truths = held::read_and_keep(stage, pair)?;
    let (pid, newer) = (stage.pid(pair.holder)?, stage.pid(newer)?);
    for truth in &mut truths {
        let old = Reason::new("old_generation").is("pid", pid).is("newer", newer);
        truth.because(&[old], &["connected", "idle_in_pool", "nobody_accepts"]);
    }
    Ok(truths)
}

/// Another program has the port now.
pub(crate) fn other_program_listens(stage: &mut Stage) -> Result<Vec<Truth>> {
    let program = stage.program("other-server", true)?;
    let (holder, peer) = (stage.start(Role::Holder)?, stage.start(Role::Peer)?);
    let own = stage.setting.family.own_address();
    let listening = |address| Request::Listen { address, share_port: true, mptcp: false };
    let address = listen(stage, holder, &listening(own))?;
    let opened = dialled(stage, holder, peer, address, stage.setting.count)?;
    stage.order(holder, &Request::CloseListener)?;
    stage.await_later_start(holder)?;
    let other = stage.start(Role::Holder)?;
    stage.order(other, &Request::Exec { program, listener: false })?;
    listen(stage, other, &listening(SocketAddr::new(own.ip(), address.port())))?;
    let mut truths = held::read_and_keep(stage, &Pair { holder, peer, opened })?;
    for truth in &mut truths {
        let others = ["old_generation", "inherited", "connected", "idle_in_pool"];
        truth.because(&[Reason::new("client_left")], &others);
    }
    Ok(truths)
}

/// A child for each connection: the parent, which is older, goes on listening.
pub(crate) fn per_connection_child(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting { heirs: 1, ..Accepting::default() })?;
    stage.await_later_start(pair.holder)?;
    let child = stage.fork(pair.holder, false)?;
    stage.order(pair.holder, &Request::CloseSockets)?;
    stage.order(child, &Request::CloseListener)?;
    let ended = stage.end_seen_by(pair.peer, &[child])?;
    stage.order(child, &Request::ReadToEnd)?;
    let mut truths = stage.truths(Some("eof_read"), 0, &pair.opened, &[child], &ended)?;
    for truth in &mut truths {
        let others = ["old_generation", "inherited", "connected", "idle_in_pool"];
        truth.because(&[Reason::new("client_left")], &others);
    }
    Ok(truths)
}

/// A connection that nobody uses when the server closes it.
pub(crate) fn idle_in_pool(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = connected(stage, stage.setting.count, false)?;
    in_pool(stage, &pair)
}

/// The same in a process that is a server itself, and leaks what it has accepted too.
pub(crate) fn pool_of_server(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = connected(stage, 1, false)?;
    let client = stage.start(Role::Peer)?;
    let accepted = accept_some(stage, pair.holder, client, 1)?;
    let mut ended = Ended::default();
    let on = accepted.first().context("a connection")?.ends;
    stage.end_one_seen_by(&mut ended, on, client, pair.holder)?;
    let mut left = stage.truths(Some("eof_unread"), 1, &accepted, &[pair.holder], &ended)?;
    for truth in &mut left {
        truth.because(&[Reason::new("client_left")], &["connected", "idle_in_pool", "old_generation"]);
    }
    let mut ended = Ended::default();
    let on = pair.opened.first().context("a connection")?.ends;
    stage.end_one_seen_by(&mut ended, on, pair.peer, pair.holder)?;
    let mut idle = stage.truths(Some("eof_unread"), 1, &pair.opened, &[pair.holder], &ended)?;
    idle_truths(&mut idle);
    Ok([left, idle].concat())
}

fn in_pool(stage: &mut Stage, pair: &Pair) -> Result<Vec<Truth>> {
    goodbyes::exchange_all(stage, pair)?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    let mut truths = stage.truths(Some("eof_unread"), 1, &pair.opened, &[pair.holder], &ended)?;
    idle_truths(&mut truths);
    Ok(truths)
}

fn idle_truths(truths: &mut [Truth]) {
    for truth in truths {
        truth.because(&[Reason::new("idle_in_pool")], &["client_left", "last_words", "old_generation"]);
    }
}
