//! Sockets in state CLOSE that have no connection, as many programs have them for a while.
//!
//! They are kept until the process ends.

use super::{Worker, opening};
use crate::message::{Ends, Reply, SocketFacts};
use crate::socket;
use anyhow::{Context as _, Result, ensure};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::io::Errno;
use std::net::{Ipv4Addr, SocketAddr};

impl Worker {
    /// Disconnects what is connected, and makes one of each other kind.
    pub(super) fn never_connect(&mut self) -> Result<Reply> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let new = socket::stream(&any, false)?;
        let bound = socket::stream(&any, false)?;
        rustix::net::bind(&bound, &any)?;
        let nowhere = SocketAddr::try_from(rustix::net::getsockname(&bound)?)?;
        let refused = refused(&nowhere)?;
        let listened = socket::listen(&any, false, false)?;
        rustix::net::shutdown(&listened, rustix::net::Shutdown::Both)?;
        for connected in &self.sockets {
            rustix::net::connect_unspec(connected).context("cannot disconnect")?;
        }
        let disconnected = self.sockets.drain(..).map(|one| (one, nobody));
        let made = [(new, nobody), (bound, nobody), (refused, nowhere), (listened, nobody)];
        let made: Vec<_> = made.into_iter().chain(disconnected).collect();
        let facts = |(socket, remote): &(OwnedFd, SocketAddr)| {
            Ok(SocketFacts {
                fd: socket.as_raw_fd(),
                cookie: socket::cookie(socket)?,
                ends: Ends { local: rustix::net::getsockname(socket)?.try_into()?, remote: *remote },
            })
        };
        let sockets = made.iter().map(facts).collect::<Result<_>>()?;
        self.ballast.extend(made.into_iter().map(|(socket, _)| socket));
        Ok(Reply::Opened { sockets, thread: None, comm: opening::comm()? })
    }
}

/// A socket that wanted to go where nobody listens, without waiting for the answer.
fn refused(nowhere: &SocketAddr) -> Result<OwnedFd> {
    let refused = socket::stream(nowhere, false)?;
    rustix::io::ioctl_fionbio(&refused, true)?;
    let answer = rustix::net::connect(&refused, nowhere);
    ensure!(matches!(answer, Err(Errno::INPROGRESS | Errno::CONNREFUSED)), "it is {answer:?}");
    socket::await_state(rustix::fd::AsFd::as_fd(&refused), socket::State::Close)?;
    Ok(refused)
}
