//! A relay: what comes on one connection goes out on another, and so does the end of file.
//!
//! It closes a pair when both of its connections have ended, and has no timeout, as many relays have none.

use super::Worker;
use crate::channel::Channel;
use crate::message::Ends;
use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

/// From one socket to another, by their places among the worker's sockets.
struct Direction {
    from: usize,
    to: usize,
    has_ended: bool,
}

pub(super) struct Relay(Vec<Direction>);

impl Worker {
    pub(super) fn relay(&self, pairs: &[(Ends, Ends)]) -> Result<Relay> {
        let place = |on: Ends| -> Result<usize> {
            let is_it = |one: &OwnedFd| self.ends(one).is_ok_and(|ends| ends == on);
            self.sockets.iter().position(is_it).context("no such socket")
        };
        let mut directions = Vec::new();
        for (one, other) in pairs {
            let (one, other) = (place(*one)?, place(*other)?);
            directions.push(Direction { from: one, to: other, has_ended: false });
            directions.push(Direction { from: other, to: one, has_ended: false });
        }
        Ok(Relay(directions))
    }
}

impl Relay {
    /// Relays until a request comes.
    pub(super) fn until_asked(&mut self, channel: &Channel, sockets: &[OwnedFd]) -> Result<()> {
        loop {
            let mut waiting = vec![PollFd::new(channel.stream(), PollFlags::IN)];
            for direction in self.0.iter().filter(|direction| !direction.has_ended) {
                let from = sockets.get(direction.from).context("a socket is gone")?;
                waiting.push(PollFd::new(from, PollFlags::IN));
            }
            rustix::event::poll(&mut waiting, None)?;
            let is_asked = waiting.first().is_some_and(|channel| !channel.revents().is_empty());
            // First, because the request may be to wait for what this does.
            for direction in &mut self.0 {
                let ends = [direction.from, direction.to].map(|at| sockets.get(at));
                let [Some(from), Some(to)] = ends else { continue };
                direction.has_ended = direction.has_ended || !copy(from, to)?;
            }
            if is_asked {
                return Ok(());
            }
        }
    }
}

/// Copies what there is; false at the end of file, which is passed on.
fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<bool> {
    let mut buffer = [0_u8; 4096];
    loop {
        let length = match rustix::net::recv(from, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, length)) => length,
            Err(rustix::io::Errno::AGAIN) => return Ok(true),
            Err(errno) => return Err(errno).context("cannot relay"),
        };
        if length == 0 {
            rustix::net::shutdown(to, Shutdown::Write)?;
            return Ok(false);
        }
        rustix::net::send(to, buffer.get(..length).context("a length")?, SendFlags::NOSIGNAL)?;
    }
}
