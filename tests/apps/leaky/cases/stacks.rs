//! Sockets whose opener's stack lies in code that is not simply in a file of this host.
//!
//! What the functions are called is the truth here; who holds the socket is as plain as can be.

use super::{Accepting, Pair, accept, accepted, held, listen_somewhere};
use crate::message::{AcceptBy, Request};
use crate::stage::{Role, Stage, WorkerId};
use crate::truth::Truth;
use crate::worker::{self, JITTED_FUNCTIONS, LIBRARY_FUNCTIONS, STACK_FUNCTIONS};
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) fn opener_deep_stack(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting { by: AcceptBy::DeepStack, ..Accepting::default() })?;
    kept(stage, &pair, &STACK_FUNCTIONS)
}

/// Code that was made at run time, of which only the program's own map file knows the names.
pub(crate) fn opener_jitted(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start(Role::Holder)?;
    let pid = stage.pid(holder)?;
    stage.clean_up_later(worker::map_path(pid));
    accepted_below(stage, holder, peer, AcceptBy::Jitted, &[&STACK_FUNCTIONS[..], &JITTED_FUNCTIONS].concat())
}

/// The same as the first process of a pid namespace, with a /tmp of its own in which the program
/// and its map file lie.
pub(crate) fn opener_contained(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start_in_pid_namespace(Role::Holder)?;
    let program = PathBuf::from("/tmp/leaky-contained");
    stage.order(holder, &Request::MountOver { folder: "/tmp".into() })?;
    stage.order(holder, &Request::CopyProgram { to: program.clone() })?;
    stage.order(holder, &Request::Exec { program, listener: false })?;
    accepted_below(stage, holder, peer, AcceptBy::Jitted, &[&STACK_FUNCTIONS[..], &JITTED_FUNCTIONS].concat())
}

/// Code without frame pointers calls the deep stack: a stack trace ends there.
pub(crate) fn opener_frameless(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = accepted(stage, Accepting { by: AcceptBy::Frameless, ..Accepting::default() })?;
    kept(stage, &pair, &STACK_FUNCTIONS)
}

/// A program that was replaced, as by an update, while it runs.
pub(crate) fn opener_program_deleted(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start(Role::Holder)?;
    let program = stage.program("leaky-deleted", true)?;
    stage.order(holder, &Request::Exec { program: program.clone(), listener: false })?;
    std::fs::remove_file(program)?;
    accepted_below(stage, holder, peer, AcceptBy::DeepStack, &STACK_FUNCTIONS)
}

/// The same of a library.
pub(crate) fn opener_library_deleted(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start(Role::Holder)?;
    let library = stage.library()?;
    stage.order(holder, &Request::LoadLibrary { path: library.clone() })?;
    std::fs::remove_file(library)?;
    accepted_below(stage, holder, peer, AcceptBy::Library, &LIBRARY_FUNCTIONS)
}

/// A library that leads a search for its debug information to a pipe that nobody writes to.
pub(crate) fn opener_trap(stage: &mut Stage) -> Result<Vec<Truth>> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start(Role::Holder)?;
    let library = stage.library()?;
    stage.order(holder, &Request::LoadLibrary { path: library.clone() })?;
    let trap = library.with_file_name("leaky-trap");
    rustix::fs::mknodat(rustix::fs::CWD, trap, rustix::fs::FileType::Fifo, 0o600.into(), 0)?;
    let opened = accept(stage, holder, peer, AcceptBy::Library, false)?;
    held::read_and_keep(stage, &Pair { holder, peer, opened })
}

/// A holder that opens more connections at once than have their stacks copied gets `--count` more, slowly. Nobody accepts those
/// of the burst: whoever did would have the stacks of as many more copied.
pub(crate) fn opener_after_burst(stage: &mut Stage) -> Result<Vec<Truth>> {
    /// More than that on each of two CPUs, and fewer than have their openers kept on one.
    const BURST: usize = 700;
    const PAUSE: Duration = Duration::from_millis(200);
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start(Role::Holder)?;
    let queue = listen_somewhere(stage, peer)?;
    stage.ask(holder, &Request::Connect { address: queue, count: BURST, mptcp: false })?;
    let address = listen_somewhere(stage, holder)?;
    let mut opened = Vec::new();
    for _ in 0..stage.setting.count {
        std::thread::sleep(PAUSE);
        // Only a copy of the stack tells the callers of these.
        stage.tell(holder, &Request::Accept { count: 1, by: AcceptBy::Frameless })?;
        stage.ask(peer, &Request::Connect { address, count: 1, mptcp: false })?;
        opened.extend(stage.hear_opened(holder, peer, "accept")?);
    }
    held::read_and_keep_some(stage, &Pair { holder, peer, opened })
}

fn accepted_below(
    stage: &mut Stage,
    holder: WorkerId,
    peer: WorkerId,
    by: AcceptBy,
    functions: &[&'static str],
) -> Result<Vec<Truth>> {
    let opened = accept(stage, holder, peer, by, false)?;
    kept(stage, &Pair { holder, peer, opened }, functions)
}

fn kept(stage: &mut Stage, pair: &Pair, functions: &[&'static str]) -> Result<Vec<Truth>> {
    let mut truths = held::read_and_keep(stage, pair)?;
    for truth in &mut truths {
        truth.extra.stack_functions = Some(functions.to_vec());
    }
    Ok(truths)
}
