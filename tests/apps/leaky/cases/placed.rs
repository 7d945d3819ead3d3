//! Holders in places where a tool may not look: namespaces, cgroups, other protocols, great numbers.
//!
//! What they do there is the plainest of leaks.

use super::{Accepting, Pair, accept, accepted, held, listen};
use crate::message::{AcceptBy, Request};
use crate::stage::{Role, Stage};
use crate::truth::Truth;
use anyhow::{Result, ensure};

/// What one process can have open is limited; peers share the work so that none comes near it.
const PER_PEER: usize = 5_000;

pub(crate) fn other_netns(stage: &mut Stage) -> Result<Vec<Truth>> {
    stage.enter_network_namespace()?;
    held::accepted_kept(stage)
}

pub(crate) fn other_pidns(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start_in_pid_namespace(Role::Holder)?;
    let opened = accept(stage, holder, peer, AcceptBy::MainThread, false)?;
    let mut truths = held::read_and_keep(stage, &Pair { holder, peer, opened })?;
    for truth in &mut truths {
        truth.extra.pid_in_namespace = Some(1);
    }
    Ok(truths)
}

pub(crate) fn cgroup(stage: &mut Stage) -> Result<Vec<Truth>> {
    let path = stage.setting.cgroup.clone();
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start(Role::Holder)?;
    // First, because a socket belongs to the cgroup its maker is in.
    stage.put_into_cgroup(holder, &path)?;
    let opened = accept(stage, holder, peer, AcceptBy::MainThread, false)?;
    let mut truths = held::read_and_keep(stage, &Pair { holder, peer, opened })?;
    for truth in &mut truths {
        truth.extra.cgroup = Some(format!("/{}", path.display().to_string().trim_start_matches('/')));
    }
    Ok(truths)
}

/// Both ends speak MPTCP: it is the connection that comes to CLOSE_WAIT, not its subflows.
pub(crate) fn mptcp(stage: &mut Stage) -> Result<Vec<Truth>> {
    require_mptcp()?;
    let pair = accepted(stage, Accepting { mptcp: true, ..Accepting::default() })?;
    let mut truths = held::read_and_keep(stage, &pair)?;
    for truth in &mut truths {
        truth.protocol = "mptcp";
    }
    Ok(truths)
}

/// A client that asks for MPTCP and gets plain TCP, as from most servers: its descriptor is that of
/// the MPTCP socket, while the one in CLOSE_WAIT on the wire is a TCP socket inside, with a cookie
/// that no process can ask for.
pub(crate) fn mptcp_fallback(stage: &mut Stage) -> Result<Vec<Truth>> {
    require_mptcp()?;
    let mut truths = held::connect_and_keep(stage, true)?;
    for truth in &mut truths {
        truth.extra.mptcp_cookie = truth.cookie.take();
    }
    Ok(truths)
}

fn require_mptcp() -> Result<()> {
    let switch = "/proc/sys/net/mptcp/enabled";
    let enabled = std::fs::read_to_string(switch).unwrap_or_default();
    ensure!(enabled.trim() == "1", "this kernel has no MPTCP, or it is switched off in {switch}");
    Ok(())
}

/// `--count` sockets in all, spread evenly over `--processes`.
pub(crate) fn many(stage: &mut Stage) -> Result<Vec<Truth>> {
    let (count, processes) = (stage.setting.count, stage.setting.processes);
    let (address, ballast) = (stage.setting.family.own_address(), stage.setting.ballast);
    ensure!(processes > 0 && count >= processes, "--count must be at least --processes, which is not 0");
    let mut pairs = Vec::with_capacity(processes);
    let (mut peer, mut room) = (stage.start(Role::Peer)?, PER_PEER);
    for nth in 0..processes {
        let share = count / processes + usize::from(nth < count % processes);
        if room < share {
            (peer, room) = (stage.start(Role::Peer)?, PER_PEER);
        }
        room = room.saturating_sub(share);
        let holder = stage.start(Role::Holder)?;
        if ballast > 0 {
            stage.order(holder, &Request::Ballast { count: ballast })?;
        }
        let address = listen(stage, holder, &Request::Listen { address, share_port: false, mptcp: false })?;
        stage.tell(holder, &Request::Accept { count: share, by: AcceptBy::MainThread })?;
        stage.ask(peer, &Request::Connect { address, count: share, mptcp: false })?;
        let opened = stage.hear_opened(holder, peer, "accept")?;
        pairs.push(Pair { holder, peer, opened });
    }
    let mut truths = Vec::with_capacity(count);
    for of_one_peer in pairs.chunk_by(|one, next| one.peer == next.peer) {
        let holders: Vec<_> = of_one_peer.iter().map(|pair| pair.holder).collect();
        let Some(peer) = of_one_peer.first().map(|pair| pair.peer) else { continue };
        let ended = stage.end_seen_by(peer, &holders)?;
        for pair in of_one_peer {
            stage.order(pair.holder, &Request::ReadToEnd)?;
            truths.extend(stage.truths(Some("eof_read"), 0, &pair.opened, &[pair.holder], &ended)?);
        }
    }
    Ok(truths)
}
