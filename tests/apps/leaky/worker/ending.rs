//! How connections end: as the peer that closes first, and as the holder that closes at last.
//!
//! Every ending that moves somebody into or out of CLOSE_WAIT is put between two clock readings.

use super::{Worker, handing, opening};
use crate::message::{Reading, Reply};
use crate::socket::{self, State};
use anyhow::{Context as _, Result};
use rustix::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

/// The name of the thread that goes on where the main thread ends.
const OTHER_THREAD: &str = "leaky-goes-on";

impl Worker {
    pub(super) fn close_each(&mut self) -> Result<Reply> {
        let close = |socket: OwnedFd| {
            let reading = Reading { ends: socket::ends(&socket)?, at_ns: socket::now_ns() };
            drop(socket);
            Ok(reading)
        };
        Ok(Reply::Readings(self.sockets.drain(..).map(close).collect::<Result<_>>()?))
    }

    pub(super) fn reset_each(&mut self) -> Result<Reply> {
        for socket in &self.sockets {
            rustix::net::sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO))?;
        }
        self.close_each()
    }

    pub(super) fn shut_down_each(&self) -> Result<Reply> {
        let shut_down = |socket: &OwnedFd| {
            let reading = Reading { ends: socket::ends(socket)?, at_ns: socket::now_ns() };
            rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?;
            Ok(reading)
        };
        Ok(Reply::Readings(self.sockets.iter().map(shut_down).collect::<Result<_>>()?))
    }

    pub(super) fn await_state(&self, state: State) -> Result<Reply> {
        let wait = |socket: &OwnedFd| {
            socket::await_state(socket.as_fd(), state)?;
            Ok(Reading { ends: self.ends(socket)?, at_ns: socket::now_ns() })
        };
        Ok(Reply::Readings(self.sockets.iter().map(wait).collect::<Result<_>>()?))
    }

    pub(super) fn send(&self, bytes: usize) -> Result<()> {
        let data = vec![b'.'; bytes];
        for socket in &self.sockets {
            rustix::net::send(socket, &data, rustix::net::SendFlags::NOSIGNAL).context("cannot send")?;
        }
        Ok(())
    }

    /// Data is read first, because closing with unread data resets instead of closing; connections
    /// that wait in the listener's queue are accepted first, for the same reason.
    pub(super) fn release(&mut self) -> Result<()> {
        (self.sending, self.busy, self.relay) = (false, None, None);
        self.filler.clear();
        for socket in self.sockets.drain(..) {
            socket::drain(&socket);
        }
        if let Some(passage) = &self.equipment.passage_in {
            passage.set_nonblocking(true)?;
            while let Ok(socket) = handing::take_one(passage) {
                socket::drain(&socket);
            }
        }
        self.unmap_sockets()?;
        if let Some(ring) = self.ring.take() {
            ring.submitter().unregister_files()?;
        }
        if let Some(listener) = self.listener.take() {
            while socket::backlog(listener.as_fd())? > 0 {
                socket::drain(&opening::accept_one(&listener)?);
            }
        }
        self.equipment.passage_out = None::<UnixStream>;
        Ok(())
    }
}

/// A worker that moves to another thread with all it has; nothing of it stays behind.
struct Moved(Worker);

// SAFETY: the thread that it comes from ends without touching it again.
unsafe impl Send for Moved {}

/// Ends the main thread as pthread_exit() does, and serves in another as soon as it is a zombie.
pub(super) fn go_on_in_another_thread(worker: Worker) -> Result<()> {
    let moved = Moved(worker);
    let main = rustix::thread::gettid().as_raw_nonzero();
    std::thread::Builder::new().name(OTHER_THREAD.to_owned()).spawn(move || {
        let Moved(mut worker) = { moved };
        let serve = || -> Result<()> {
            while !has_ended(&std::fs::read_to_string(format!("/proc/self/task/{main}/stat"))?) {
                std::thread::yield_now();
            }
            worker.channel.send(&Reply::Done)?;
            worker.serve()
        };
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(i32::from(serve().is_err())) }
    })?;
    // SAFETY: ends this thread alone, which holds nothing that others wait for.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    Ok(())
}

/// proc_pid_stat(5): the state follows the name, which may contain anything.
fn has_ended(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
