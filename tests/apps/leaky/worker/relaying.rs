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
    /// What was read and found no room yet: nothing more is read until it has gone out.
    left: Vec<u8>,
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
            for (from, to) in [(one, other), (other, one)] {
                directions.push(Direction { from, to, has_ended: false, left: Vec::new() });
            }
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
                let (at, for_what) = if direction.left.is_empty() {
                    (direction.from, PollFlags::IN)
                } else {
                    (direction.to, PollFlags::OUT)
                };
                waiting.push(PollFd::new(sockets.get(at).context("a socket is gone")?, for_what));
            }
            rustix::event::poll(&mut waiting, None)?;
            let told: Vec<bool> = waiting.iter().map(|one| !one.revents().is_empty()).collect();
            let is_asked = told.first() == Some(&true);
            let mut told = told.into_iter().skip(1);
            // First, because the request may be to wait for what this does.
            for direction in self.0.iter_mut().filter(|direction| !direction.has_ended) {
                let is_told = told.next() == Some(true);
                // A little room is none yet.
                if !direction.left.is_empty() && !is_told {
                    continue;
                }
                let ends = [direction.from, direction.to].map(|at| sockets.get(at));
                let [Some(from), Some(to)] = ends else { continue };
                direction.has_ended = !copy(from, to, &mut direction.left)?;
            }
            if is_asked {
                return Ok(());
            }
        }
    }
}

/// Copies what there is, as far as there is room; false at the end of file, which is passed on.
fn copy(from: &OwnedFd, to: &OwnedFd, left: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0_u8; 4096];
    loop {
        while !left.is_empty() {
            match rustix::net::send(to, left, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(length) => drop(left.drain(..length)),
                Err(rustix::io::Errno::AGAIN) => return Ok(true),
                Err(errno) => return Err(errno).context("cannot relay"),
            }
        }
        let length = match rustix::net::recv(from, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, length)) => length,
            Err(rustix::io::Errno::AGAIN) => return Ok(true),
            Err(errno) => return Err(errno).context("cannot relay"),
        };
        if length == 0 {
            rustix::net::shutdown(to, Shutdown::Write)?;
            return Ok(false);
        }
        left.extend_from_slice(buffer.get(..length).context("a length")?);
    }
}
