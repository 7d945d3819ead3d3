//! Ends a socket by its cookie (SOCK_DESTROY). Decides nothing: `commands/clear` chooses the sockets.

use rustix::io::Errno;

use super::{
    diag_socket::SocketId,
    error::Error,
    request,
    socket::{ConversationEnd, SockDiag, refusal},
};
use crate::model::{endpoints::Endpoint, socket::TcpFlavour};

const ENDING: &str = "ending a TCP socket";

/// Both halves are INET_DIAG_NOCOOKIE, which the kernel accepts for any socket (`sock_diag_check_cookie`):
/// the request would hit whichever socket has the addresses.
const ANY_COOKIE: u64 = u64::MAX;

impl SockDiag {
    /// Ends exactly this TCP socket, whatever its state. The peer of a connection that could still carry data gets a
    /// reset. The application wakes up with ECONNABORTED; its descriptors stay open (`tcp_abort` of net/ipv4/tcp.c). An
    /// application at end of file keeps reading that and gets the error when it writes. Returns false if the socket is
    /// gone. A new socket at the same addresses is safe, because the kernel compares the cookie
    /// (`inet_diag_find_one_icsk`).
    ///
    /// The kernel may acknowledge the request and leave the socket alone: before Linux 6.11 it does so after close().
    ///
    /// # Errors
    ///
    /// [`Error::Permission`] without CAP_NET_ADMIN in the user namespace that owns the socket's network namespace.
    /// [`Error::System`] with EOPNOTSUPP for a minisocket before Linux 6.0, or with any other answer of the system.
    pub(crate) fn destroy(&mut self, socket: &SocketId) -> Result<bool, Error> {
        if socket.cookie == ANY_COOKIE {
            return Ok(false);
        }
        let sequence = self.next_sequence();
        let bytes = request::destroy(socket, sequence);
        match self.converse(ENDING, &bytes, TcpFlavour::Tcp, true, &mut |_| {})? {
            ConversationEnd::Complete { .. } => Ok(true),
            ConversationEnd::Refused(code) => match Errno::from_raw_os_error(code) {
                Errno::NOENT | Errno::STALE => Ok(false),
                _ => Err(refusal(ENDING, TcpFlavour::Tcp, code)),
            },
        }
    }

    /// Checks whether the kernel has SOCK_DESTROY, with a request for a socket that cannot exist. The kernel checks the
    /// caller's rights only after it has found a socket.
    ///
    /// # Errors
    ///
    /// [`Error::NoDestroy`] when it has not, [`Error::NotSupported`] without sock_diag.
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
