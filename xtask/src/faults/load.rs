//! Connections in a network namespace, and how many transitions they are, counted without any tracer.

use super::ground::Ground;
use super::namespace::Netns;
pub(crate) use crate::bench::load::TRANSITIONS;
use crate::bench::load::finish;
use anyhow::{Result, anyhow, ensure};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// How many loads run at once. Nothing is pinned, so the tracer competes with them.
const LOADS: usize = 2;

/// Connections of one run of a load: a fraction of a second.
const CONNECTIONS: u64 = 5_000;

/// Of one end, from nothing to CLOSE.
const TRANSITIONS_OF_AN_END: u64 = TRANSITIONS / 2;

/// A listener begins to listen, and ends.
const LISTENER_TRANSITIONS: u64 = 2;

/// What loads have made in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made {
    connections: u64,
    listeners: u64,
}

impl Made {
    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.listeners += other.listeners;
    }

    /// Every transition of their sockets.
    pub(crate) fn transitions(self) -> u64 {
        self.connections * TRANSITIONS + self.listeners * LISTENER_TRANSITIONS
    }
}

/// Makes connections as fast as the machine can, for so long and until each of the last is closed. Fails where the
/// kernel counts others than the loads say.
pub(crate) fn run_for(ground: &Ground, netns: &Netns, time: Duration) -> Result<Made> {
    counted(netns, || {
        let until = Instant::now() + time;
        thread::scope(|scope| {
            let loads: Vec<_> = (0..LOADS)
                .map(|_| {
                    scope.spawn(move || -> Result<Made> {
                        let mut made = Made::default();
                        while Instant::now() < until {
                            made.add(load(ground, netns, CONNECTIONS)?);
                        }
                        Ok(made)
                    })
                })
                .collect();
            let mut sum = Made::default();
            for load in loads {
                sum.add(load.join().map_err(|_| anyhow!("a load panicked"))??);
            }
            Ok(sum)
        })
    })
}

/// Makes this many connections, one after the other. Fails as [`run_for`] does.
pub(crate) fn run(ground: &Ground, netns: &Netns, connections: u64) -> Result<Made> {
    counted(netns, || load(ground, netns, connections))
}

/// Compares what is made with what the kernel counts.
fn counted(netns: &Netns, make: impl FnOnce() -> Result<Made>) -> Result<Made> {
    let before = netns.opens()?;
    let made = make()?;
    let opened = netns.opens()? - before;
    ensure!(
        opened * TRANSITIONS_OF_AN_END == made.connections * TRANSITIONS,
        "the kernel counts {opened} opened ends of {} connections: nothing can be measured by that",
        made.connections
    );
    Ok(made)
}

fn load(ground: &Ground, netns: &Netns, connections: u64) -> Result<Made> {
    let mut command = netns.command(&ground.churn);
    command.args(["--connections", &connections.to_string()]);
    finish(command.stdout(Stdio::piped()).spawn()?)?;
    Ok(Made { connections, listeners: 1 })
}
