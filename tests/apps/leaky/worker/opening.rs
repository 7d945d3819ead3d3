//! How a worker comes by its sockets: listening, accepting, connecting.
//!
//! Nothing here ends a connection.

use super::{Worker, deep_stack, frameless, jitted};
use crate::message::{AcceptBy, Ends, Reply, SocketFacts};
use crate::socket;
use anyhow::{Context as _, Result, ensure};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

/// At most fifteen bytes, the length of a comm.
const ACCEPTOR: &str = "leaky-acceptor";

impl Worker {
    pub(super) fn listen(&mut self, address: &SocketAddr, share_port: bool, mptcp: bool) -> Result<Reply> {
        let listener = socket::listen(address, share_port, mptcp)?;
        let address = socket::address_to_dial(&listener)?;
        self.listener = Some(Arc::new(listener));
        Ok(Reply::Listening { address })
    }

    pub(super) fn accept(&mut self, count: usize, by: AcceptBy) -> Result<Reply> {
        let listener = Arc::clone(self.listener.as_ref().context("no listener")?);
        let mut thread = None;
        let accepted = match by {
            AcceptBy::MainThread => accept_all(&listener, count, accept_one)?,
            AcceptBy::DeepStack => accept_all(&listener, count, deep_stack::handle_order)?,
            AcceptBy::Frameless => {
                let code = frameless::Code::new()?;
                accept_all(&listener, count, |listener| code.accept(listener))?
            }
            AcceptBy::Jitted => {
                let code = jitted::Code::new()?;
                accept_all(&listener, count, |listener| code.accept(listener))?
            }
            AcceptBy::Library => {
                let library = self.library.as_ref().context("no library")?;
                accept_all(&listener, count, |listener| library.accept(listener))?
            }
            AcceptBy::NamedThread => {
                let (accepted, acceptor) = accept_in_thread(listener, count)?;
                thread = Some(acceptor);
                accepted
            }
        };
        let comm = if thread.is_some() { ACCEPTOR.to_owned() } else { comm()? };
        self.opened(accepted, thread, comm)
    }

    pub(super) fn connect(&mut self, address: &SocketAddr, count: usize, mptcp: bool) -> Result<Reply> {
        let mut connected = Vec::with_capacity(count);
        for _ in 0..count {
            let stream = socket::stream(address, mptcp)?;
            rustix::net::connect(&stream, address).with_context(|| format!("cannot connect to {address}"))?;
            connected.push(stream);
        }
        self.opened(connected, None, comm()?)
    }

    fn opened(&mut self, streams: Vec<OwnedFd>, thread: Option<i32>, comm: String) -> Result<Reply> {
        let sockets: Vec<SocketFacts> = streams.iter().map(socket::facts).collect::<Result<_>>()?;
        self.ends.extend(sockets.iter().map(|facts| (facts.cookie, facts.ends)));
        self.sockets.extend(streams);
        Ok(Reply::Opened { sockets, thread, comm })
    }

    pub(super) fn describe(&self) -> Result<Reply> {
        let facts = |one: &OwnedFd| {
            Ok(SocketFacts { fd: one.as_raw_fd(), cookie: socket::cookie(one)?, ends: self.ends(one)? })
        };
        let sockets = self.sockets.iter().map(facts).collect::<Result<_>>()?;
        Ok(Reply::Holding { sockets, listener: self.listener.as_ref().map(AsRawFd::as_raw_fd) })
    }

    /// The ends of a socket, also when its connection is over.
    pub(super) fn ends(&self, socket: &OwnedFd) -> Result<Ends> {
        socket::ends(socket).or_else(|error| self.ends.get(&socket::cookie(socket)?).copied().ok_or(error))
    }

    pub(super) fn add_ballast(&mut self, count: usize) -> Result<()> {
        let nothing = OwnedFd::from(std::fs::File::open("/dev/null")?);
        for _ in 1..count {
            self.ballast.push(nothing.try_clone().context("cannot hold that many descriptors")?);
        }
        self.ballast.push(nothing);
        Ok(())
    }

    /// No descriptor below the limit is free afterwards.
    pub(super) fn use_up_descriptors(&mut self, limit: u64) -> Result<()> {
        let nothing = OwnedFd::from(std::fs::File::open("/dev/null")?);
        let most = Rlimit { current: Some(limit), maximum: getrlimit(Resource::Nofile).maximum };
        setrlimit(Resource::Nofile, most)?;
        loop {
            match rustix::io::dup(&nothing) {
                Ok(copy) => self.filler.push(copy),
                Err(Errno::MFILE) => break,
                Err(errno) => return Err(errno).context("cannot use up the descriptors"),
            }
        }
        self.filler.push(nothing);
        let Some(listener) = &self.listener else { return Ok(()) };
        rustix::io::ioctl_fionbio(listener, true)?;
        let refused = rustix::net::accept(listener);
        rustix::io::ioctl_fionbio(listener, false)?;
        ensure!(matches!(refused, Err(Errno::MFILE)), "accept() is not refused: {refused:?}");
        Ok(())
    }
}

/// Accepts in a thread of its own, which lives on as a server's threads do.
fn accept_in_thread(listener: Arc<OwnedFd>, count: usize) -> Result<(Vec<OwnedFd>, i32)> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().name(ACCEPTOR.to_owned()).spawn(move || {
        let accepted = accept_all(&listener, count, accept_one);
        drop(listener);
        let _worker_waits = sender.send((accepted, rustix::thread::gettid().as_raw_nonzero().get()));
        loop {
            std::thread::park();
        }
    })?;
    let (accepted, thread) = receiver.recv()?;
    Ok((accepted?, thread))
}

fn accept_all(
    listener: &OwnedFd,
    count: usize,
    one: impl Fn(&OwnedFd) -> Result<OwnedFd>,
) -> Result<Vec<OwnedFd>> {
    (0..count).map(|_| one(listener)).collect()
}

pub(super) fn accept_one(listener: &OwnedFd) -> Result<OwnedFd> {
    rustix::net::accept_with(listener, SocketFlags::CLOEXEC).context("cannot accept")
}

pub(super) fn comm() -> Result<String> {
    Ok(rustix::thread::name()?.to_string_lossy().into_owned())
}
