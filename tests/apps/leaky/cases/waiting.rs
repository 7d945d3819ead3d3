//! Sockets whose holder waits for the answer to what it asked on another connection, as a handler does for its database.

use super::goodbyes::{UNKNOWN, answer, request};
use super::{connect_some, connected, dialled, listen_somewhere};
use crate::message::{Ends, Request};
use crate::stage::{Ended, Role, Stage, WorkerId};
use crate::truth::{Reason, Truth};
use anyhow::{Context as _, Result, bail};
use std::time::Duration;

/// Ten of the longest.
const MANY_JIFFIES: Duration = Duration::from_millis(100);

/// The holder waits, and can neither read the other connections nor accept more of them.
pub(crate) fn behind_blocked_read(stage: &mut Stage) -> Result<Vec<Truth>> {
    let holder = stage.start(Role::Holder)?;
    let (mute, peer) = (stage.start(Role::Bystander)?, stage.start(Role::Peer)?);
    let address = listen_somewhere(stage, holder)?;
    let awaited = dialled(stage, holder, mute, address, 1)?;
    let others = dialled(stage, holder, peer, address, 2)?;
    let on = awaited.first().context("a connection")?.ends;
    let (pid, fd) = (stage.pid(holder)?, stage.descriptor(holder, on)?);
    let mut truths = stage.truths(Some("eof_unread"), 1, &others, &[holder], &Ended::never(&others))?;
    ask_and_wait(stage, holder, on, mute)?;
    // The kernel tells in jiffies how long a connection has been silent: it has to be longer than the others have ended.
    std::thread::sleep(MANY_JIFFIES);
    stage.end_unseen(peer)?.happened_to(&mut truths);
    let behind = Reason::new("behind_blocked_read").is("pid", pid).is("fd", fd);
    let behind = behind.is("address", on.remote.to_string()).at_least("for_ns", 1);
    for truth in &mut truths {
        truth.because(std::slice::from_ref(&behind), &["behind_blocked_write", "nobody_accepts"]);
    }
    Ok(truths)
}

/// The peer answers when all is over.
fn ask_and_wait(stage: &mut Stage, holder: WorkerId, on: Ends, mute: WorkerId) -> Result<()> {
    stage.order(holder, &Request::Say { on, bytes: b"a question".to_vec() })?;
    stage.block_in_read(holder, on, mute)
}

/// The same, but the holder began to wait when the others had ended: it could have read them, and has forgotten them.
pub(crate) fn reads_since_the_end(stage: &mut Stage) -> Result<Vec<Truth>> {
    let holder = stage.start(Role::Holder)?;
    let (mute, peer) = (stage.start(Role::Bystander)?, stage.start(Role::Peer)?);
    let address = listen_somewhere(stage, holder)?;
    let others = dialled(stage, holder, peer, address, 2)?;
    let mut truths = stage.truths(Some("eof_unread"), 1, &others, &[holder], &Ended::never(&others))?;
    stage.end_unseen(peer)?.happened_to(&mut truths);
    let awaited = dialled(stage, holder, mute, address, 1)?;
    let on = awaited.first().context("a connection")?.ends;
    ask_and_wait(stage, holder, on, mute)?;
    for truth in &mut truths {
        truth.because(&[Reason::new("client_left")], &["behind_blocked_read"]);
    }
    Ok(truths)
}

/// A client that asked twice and then turned to something else, when it had one of the answers: it has left both.
pub(crate) fn answers_around_a_wait(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = connected(stage, 2, false)?;
    let [early, late] = &pair.opened[..] else { bail!("there are {} connections", pair.opened.len()) };
    let mute = stage.start(Role::Bystander)?;
    let asked = connect_some(stage, pair.holder, mute, 1)?;
    let on = asked.first().context("a connection")?.ends;
    let never = Ended::never(&pair.opened);
    let mut truths = stage.truths(Some("data_unread"), 31, &pair.opened, &[pair.holder], &never)?;
    request(stage, &pair, early)?;
    request(stage, &pair, late)?;
    answer(stage, &pair, early, &UNKNOWN)?;
    std::thread::sleep(MANY_JIFFIES);
    ask_and_wait(stage, pair.holder, on, mute)?;
    std::thread::sleep(MANY_JIFFIES);
    answer(stage, &pair, late, &UNKNOWN)?;
    stage.end_unseen(pair.peer)?.happened_to(&mut truths);
    for truth in &mut truths {
        truth.because(&[Reason::new("connected")], &["behind_blocked_read", "client_left"]);
    }
    Ok(truths)
}
