//! Ends one socket, by its cookie (SOCK_DESTROY). Decides nothing: which sockets are to end is the job of
//! `clear`.

use rustix::io::Errno;

use super::{
    SocketId,
    error::Error,
    request,
    socket::{Ending, SockDiag, refusal},
};
use crate::model::endpoints::Endpoint;
use crate::model::socket::TcpFlavour;

const ENDING: &str = "ending a TCP socket";

/// Both halves are INET_DIAG_NOCOOKIE, which the kernel compares with nothing (`sock_diag_check_cookie`): whoever has the
/// addresses would be hit.
const ANY_COOKIE: u64 = u64::MAX;

impl SockDiag {
    /// Ends this very TCP socket, whatever its state: the peer of a connection that could still carry data is sent
    /// a reset, the application is woken and finds ECONNABORTED, and its descriptors stay open (`tcp_abort` of
    /// net/ipv4/tcp.c); one that has been told the end of file goes on reading that, and finds the error when it writes. Returns false when this very socket is gone; a new socket at the same addresses is
    /// not touched, because the kernel compares the cookie (`inet_diag_find_one_icsk`).
    ///
    /// The kernel may acknowledge and leave the socket as it was: before Linux 6.11 it does so where the
    /// application has called close() already.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`] without CAP_NET_ADMIN over the user namespace that owns the socket's network namespace. As
    /// [`Error::System`] EOPNOTSUPP for a minisocket before Linux 6.0. Otherwise what the system said.
    pub(crate) fn destroy(&mut self, socket: &SocketId) -> Result<bool, Error> {
        if socket.cookie == ANY_COOKIE {
            return Ok(false);
        }
        let sequence = self.next_sequence();
        let bytes = request::destroy(socket, sequence);
        match self.converse(ENDING, &bytes, TcpFlavour::Tcp, true, &mut |_| {})? {
            Ending::Complete { .. } => Ok(true),
            Ending::Refused(code) => match Errno::from_raw_os_error(code) {
                Errno::NOENT | Errno::STALE => Ok(false),
                _ => Err(refusal(ENDING, TcpFlavour::Tcp, code)),
            },
        }
    }

    /// Asks whether the kernel has SOCK_DESTROY at all, by asking for a socket that cannot be. Whether the caller
    /// has the right to it is not looked at before a socket is found.
    ///
    /// # Errors
    ///
    /// [`Error::NoDestroy`] when it has not, [`Error::NotSupported`] when sock_diag is not to be had.
    pub(crate) fn probe_destroy(&mut self) -> Result<(), Error> {
        self.probe(TcpFlavour::Tcp)?;
        let nowhere = Endpoint::UNSPECIFIED;
        // 0 is no cookie: the kernel counts from 1 (`sock_gen_cookie`).
        let nobody = SocketId { cookie: 0, local: nowhere, remote: nowhere, interface: 0 };
        match self.destroy(&nobody) {
            Err(Error::System { source, .. })
                if source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) =>
            {
                Err(Error::NoDestroy)
            }
            outcome => outcome.map(|_| ()),
        }
    }
}
