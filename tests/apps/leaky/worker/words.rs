//! What a worker does to one of its sockets, and not to all of them.
//!
//! Sockets are named by their ends, because only those are known on both sides.

use super::{Worker, handing};
use crate::message::{Ends, Reading, Reply};
use crate::socket::{self, LIMIT, State};
use anyhow::{Context as _, Result, ensure};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};

impl Worker {
    fn position(&self, on: Ends) -> Result<usize> {
        let is_it = |one: &OwnedFd| self.ends(one).is_ok_and(|ends| ends == on);
        self.sockets.iter().position(is_it).with_context(|| format!("no socket {on:?}"))
    }

    pub(super) fn one(&self, on: Ends) -> Result<&OwnedFd> {
        self.sockets.get(self.position(on)?).context("no such socket")
    }

    pub(super) fn say(&self, on: Ends, bytes: &[u8]) -> Result<()> {
        let sent = rustix::net::send(self.one(on)?, bytes, SendFlags::NOSIGNAL).context("cannot send")?;
        ensure!(sent == bytes.len(), "only {sent} of {} bytes fit", bytes.len());
        Ok(())
    }

    pub(super) fn hear_bytes(&self, on: Ends, bytes: usize) -> Result<()> {
        let socket = self.one(on)?;
        sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(LIMIT))?;
        let mut buffer = vec![0_u8; bytes];
        let (_, length) = rustix::net::recv(socket, &mut buffer, RecvFlags::WAITALL)?;
        ensure!(length == bytes, "awaited {bytes} bytes, {length} came");
        Ok(())
    }

    /// Replies, and blocks until the peer has read all.
    pub(super) fn block_in_send(&mut self, on: Ends) -> Result<()> {
        let at = self.position(on)?;
        self.channel.send(&Reply::Done)?;
        let socket = self.sockets.get(at).context("no such socket")?;
        handing::fill(socket)?;
        handing::send_more(socket)
    }

    /// Replies, and blocks until the peer says something.
    pub(super) fn block_in_read(&mut self, on: Ends) -> Result<()> {
        let at = self.position(on)?;
        self.channel.send(&Reply::Done)?;
        let socket = self.sockets.get(at).context("no such socket")?;
        rustix::net::recv(socket, &mut [0_u8], RecvFlags::empty())?;
        Ok(())
    }

    pub(super) fn close_one(&mut self, on: Ends) -> Result<Reply> {
        let at = self.position(on)?;
        let reading = Reading { ends: on, at_ns: socket::now_ns() };
        drop(self.sockets.remove(at));
        Ok(Reply::Readings(vec![reading]))
    }

    pub(super) fn shut_down_one(&self, on: Ends) -> Result<Reply> {
        let reading = Reading { ends: on, at_ns: socket::now_ns() };
        rustix::net::shutdown(self.one(on)?, Shutdown::Write)?;
        Ok(Reply::Readings(vec![reading]))
    }

    pub(super) fn await_one(&self, on: Ends, state: State) -> Result<Reply> {
        socket::await_state(self.one(on)?.as_fd(), state)?;
        Ok(Reply::Readings(vec![Reading { ends: on, at_ns: socket::now_ns() }]))
    }
}
