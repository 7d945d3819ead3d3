//! What lies in the queues of a worker's sockets, as the kernel tells anybody.

use super::conditions::until;
use super::{Stage, WorkerId};
use crate::message::Ends;
use anyhow::{Context as _, Result, bail};
use std::time::Duration;

/// How often, and how far apart, a leg has to be full to count as full.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// How often there may be room once more.
const ROUNDS: u32 = 1_000;

impl Stage {
    /// Waits until a relay has read all from one leg, or the other leg is full; whether it is.
    pub(crate) fn is_leg_full(&mut self, relay: WorkerId, one: Ends, other: Ends) -> Result<bool> {
        let pid = self.pid(relay)?;
        let is_full = || queues(pid, other).map(|queues| queues.probes_for_room);
        for _ in 0..ROUNDS {
            until("a relay goes on, or cannot", || Ok(queues(pid, one)?.unread == 0 || is_full()?))?;
            // There may be room once more, as the buffers of the far end grow.
            let mut looks = 0;
            while looks < LOOKS && is_full()? {
                std::thread::sleep(PAUSE);
                looks += 1;
            }
            // More is sent only to a relay that has read all: whoever sends on and on is blocked itself.
            if queues(pid, one)?.unread == 0 {
                return Ok(false);
            }
            if looks == LOOKS {
                return Ok(true);
            }
        }
        bail!("a leg is full now and then")
    }

    /// Waits until the end of a connection is in the queue of a worker that reads nothing; what is in that queue then.
    pub(crate) fn await_unread_end(&mut self, worker: WorkerId, on: Ends) -> Result<u32> {
        let pid = self.pid(worker)?;
        until("the end arrives", || Ok(queues(pid, on)?.is_in_close_wait))?;
        Ok(queues(pid, on)?.unread)
    }
}

/// What the kernel says of a socket in `/proc/net/tcp` (proc_pid_net(5), `get_tcp4_sock` of net/ipv4/tcp_ipv4.c).
struct Queues {
    is_in_close_wait: bool,
    unread: u32,
    /// Its peer's window is closed, and the kernel asks again and again.
    probes_for_room: bool,
}

/// The queues of a socket in the network namespace of a process.
fn queues(pid: i32, on: Ends) -> Result<Queues> {
    const CLOSE_WAIT: &str = "08";
    const PROBES: &str = "04";
    let ends_with =
        |field: Option<&&str>, port: u16| field.is_some_and(|one| one.ends_with(&format!(":{port:04X}")));
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}"))?;
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if ends_with(fields.get(1), on.local.port()) && ends_with(fields.get(2), on.remote.port()) {
                let unread = fields.get(4).and_then(|queues| queues.split_once(':')).context("no queues")?.1;
                return Ok(Queues {
                    is_in_close_wait: fields.get(3) == Some(&CLOSE_WAIT),
                    unread: u32::from_str_radix(unread, 16)?,
                    probes_for_room: fields.get(5).is_some_and(|timer| timer.starts_with(PROBES)),
                });
            }
        }
    }
    bail!("{on:?} is not there")
}
