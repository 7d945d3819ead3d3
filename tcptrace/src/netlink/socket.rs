//! A netlink socket and its conversations: sends a request, reads to the end of the answer, retries.

use std::{io, time::Duration};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use rustc_hash::FxHashSet;
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, sockopt},
};

use super::{
    diag_socket::{DiagSocket, SocketId},
    error::Error,
    reply::{self, Reply},
    request::{self, Pass},
};
use crate::{
    host::namespaces::NetNamespace,
    model::{endpoints::Endpoints, interface::Interface, socket::TcpFlavour, state::StateSet},
};

/// The kernel fills at most this much per datagram of a dump (`netlink_recvmsg`: 32 KiB).
const BUFFER_BYTES: usize = 32 * 1024;
/// How often a dump runs while the kernel reports that its tables changed during it.
const ATTEMPTS: u32 = 3;
/// Most interfaces whose names are asked for through one socket, at some microseconds each.
const MOST_INTERFACES: usize = 1_024;
/// Longest wait for a datagram; a dump of a million sockets takes about a second in all.
const SILENCE_SECONDS: u64 = 10;

const OPENING: &str = "opening a netlink socket";
const LISTING: &str = "listing TCP sockets";
const LOOKING_UP: &str = "looking up a TCP socket";

/// How a dump went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) struct Dump {
    /// The kernel's tables changed even during the last repetition: sockets may be missing.
    pub interrupted: bool,
}

/// A netlink socket for sock_diag, bound for good to the network namespace it was opened in.
pub(crate) struct SockDiag {
    socket: Socket,
    interfaces: Interfaces,
    sequence: u32,
    buffer: Box<[u8]>,
}

/// Gives the interfaces of link-local addresses their names, which only their network namespace knows.
#[derive(Default)]
struct Interfaces {
    /// The inode number of the namespace; `None` where it does not matter.
    netns: Option<u32>,
    /// Those that were asked for.
    asked: FxHashSet<u32>,
}

impl Interfaces {
    fn name(&mut self, socket: &Socket, of: &mut DiagSocket) {
        let ends = Endpoints { local: of.local, remote: of.remote };
        if let (Some(interface), Some(netns)) = (ends.interface(), self.netns) {
            let index = interface.index();
            if self.asked.len() < MOST_INTERFACES && self.asked.insert(index) {
                learn(socket, netns, index);
            }
            Endpoints { local: of.local, remote: of.remote } = ends.named_in(Some(netns));
        }
    }
}

/// Asks the namespace that the socket was opened in (SIOCGIFNAME).
fn learn(socket: &Socket, netns: u32, index: u32) {
    if let Ok(name) = rustix::net::netdevice::index_to_name(socket, index) {
        Interface::learn(netns, index, &name);
    }
}

/// How a conversation ended.
pub(super) enum ConversationEnd {
    Complete { interrupted: bool },
    Refused(i32),
}

impl SockDiag {
    /// Opens one in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// When the system refuses the socket.
    pub(crate) fn open_here() -> Result<Self, Error> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
            socket.bind_auto()?;
            // Connected to the kernel (port 0), it receives nothing from other processes.
            socket.connect(&SocketAddr::new(0, 0))?;
            let silence = Some(Duration::from_secs(SILENCE_SECONDS));
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, silence)?;
            Ok(socket)
        };
        let socket = open().map_err(|source| Error::from_system(OPENING, source))?;
        let interfaces = Interfaces::default();
        Ok(Self { socket, interfaces, sequence: 0, buffer: vec![0; BUFFER_BYTES].into_boxed_slice() })
    }

    /// Opens one in a network namespace. Unless it is that of this process, a dedicated thread enters the namespace,
    /// opens the socket and ends, so no other thread is ever in the wrong namespace (setns(2) is per thread).
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] when the namespace is gone or cannot be entered, else as [`SockDiag::open_here`].
    pub(crate) fn open_in(namespace: &NetNamespace) -> Result<Self, Error> {
        let entered = namespace.run_inside(Self::open_here);
        match entered {
            Ok(opened) => opened.map(|opened| opened.in_namespace(namespace.inode)),
            Err(source) => {
                Err(Error::Namespace { inode: namespace.inode, path: namespace.path().to_owned(), source })
            }
        }
    }

    /// Tells one that was opened here which namespace that is: the interfaces of link-local addresses then have names.
    pub(crate) fn in_namespace(self, netns: u32) -> Self {
        Self { interfaces: Interfaces { netns: Some(netns), ..self.interfaces }, ..self }
    }

    /// Learns the name of an interface of this namespace.
    pub(crate) fn learn_interface(&self, index: u32) {
        if let Some(netns) = self.interfaces.netns {
            learn(&self.socket, netns, index);
        }
    }

    /// Checks whether the kernel answers for this protocol; walks no table.
    ///
    /// # Errors
    ///
    /// [`Error::NotSupported`] when it does not.
    pub(crate) fn probe(&mut self, flavour: TcpFlavour) -> Result<(), Error> {
        let _ = self.pass(Pass::V4, flavour, StateSet::NONE, false, &mut |_| {})?;
        Ok(())
    }

    /// Passes every socket of this namespace in one of `states` to `visit`, both families. `with_times` fills
    /// [`DiagSocket::times`] and costs about a quarter more.
    ///
    /// The kernel walks the hash table of the whole host (14 ms with 100,000 sockets, even for an empty
    /// namespace). The walk is no snapshot: it may visit a socket twice and miss one that moves. Key what you
    /// keep by cookie.
    ///
    /// # Errors
    ///
    /// [`Error::NotSupported`] when the kernel lacks the module, else the system's answer. `visit` may have
    /// seen sockets before that.
    pub(crate) fn dump(
        &mut self,
        flavour: TcpFlavour,
        states: StateSet,
        with_times: bool,
        mut visit: impl FnMut(DiagSocket),
    ) -> Result<Dump, Error> {
        let mut interrupted = false;
        if flavour == TcpFlavour::Tcp {
            match self.pass(Pass::BothFamilies, flavour, states, with_times, &mut visit) {
                // The older request does not always load the module on demand: try the newer one.
                Err(Error::System { source, .. })
                    if source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {}
                outcome => return outcome,
            }
        }
        for pass in [Pass::V4, Pass::V6] {
            interrupted |= self.pass(pass, flavour, states, with_times, &mut visit)?.interrupted;
        }
        Ok(Dump { interrupted })
    }

    /// Looks up one socket; `None` if it is gone. A new socket at the same addresses does not count. For TCP this takes
    /// microseconds, whatever the number of sockets.
    ///
    /// # Errors
    ///
    /// As for [`SockDiag::dump`].
    pub(crate) fn lookup(
        &mut self,
        flavour: TcpFlavour,
        socket: &SocketId,
        with_times: bool,
    ) -> Result<Option<DiagSocket>, Error> {
        let mut found = None;
        if flavour == TcpFlavour::Mptcp {
            // The kernel looks up MPTCP sockets by token, not by address (`mptcp_diag_dump_one`), and a dump does not
            // contain the token. Its table holds MPTCP sockets only, so walking it is cheap.
            let state = StateSet::ALL;
            let _ = self.dump(flavour, state, with_times, |other| {
                if other.cookie == socket.cookie {
                    found = Some(other);
                }
            })?;
            return Ok(found);
        }
        let sequence = self.next_sequence();
        let bytes = request::lookup(socket, with_times, sequence);
        match self.converse(LOOKING_UP, &bytes, flavour, true, &mut |socket| found = Some(socket))? {
            ConversationEnd::Complete { .. } => Ok(found),
            // ENOENT means "no such socket" or "no such module"; ESTALE means another cookie.
            ConversationEnd::Refused(code) if code == Errno::NOENT.raw_os_error() => {
                self.probe(flavour).map(|()| None)
            }
            ConversationEnd::Refused(code) if code == Errno::STALE.raw_os_error() => Ok(None),
            ConversationEnd::Refused(code) => Err(refusal(LOOKING_UP, flavour, code)),
        }
    }

    fn pass(
        &mut self,
        pass: Pass,
        flavour: TcpFlavour,
        states: StateSet,
        with_times: bool,
        visit: &mut dyn FnMut(DiagSocket),
    ) -> Result<Dump, Error> {
        for _ in 0..ATTEMPTS {
            let sequence = self.next_sequence();
            let bytes = request::dump(pass, flavour, states, with_times, sequence);
            match self.converse(LISTING, &bytes, flavour, false, visit)? {
                ConversationEnd::Complete { interrupted: true } => {}
                ConversationEnd::Complete { interrupted: false } => return Ok(Dump { interrupted: false }),
                ConversationEnd::Refused(code) => return Err(refusal(LISTING, flavour, code)),
            }
        }
        Ok(Dump { interrupted: true })
    }

    /// Sends `request` and reads until the answer is complete: the end of a dump, or with `single` one socket.
    pub(super) fn converse(
        &mut self,
        operation: &'static str,
        request: &[u8],
        flavour: TcpFlavour,
        single: bool,
        visit: &mut dyn FnMut(DiagSocket),
    ) -> Result<ConversationEnd, Error> {
        let system = |errno: Errno| match errno {
            Errno::AGAIN => Error::Timeout { operation, seconds: SILENCE_SECONDS },
            errno => Error::from_system(operation, errno.into()),
        };
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, request, SendFlags::empty()))
            .map_err(system)?;
        let mut any_interrupted = false;
        loop {
            let (length, full_length) = rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.socket, &mut *self.buffer, RecvFlags::TRUNC)
            })
            .map_err(system)?;
            let undecodable = |what: String| Error::Undecodable { operation, what };
            if full_length > length {
                return Err(undecodable(format!(
                    "a datagram of {full_length} bytes, {BUFFER_BYTES} expected"
                )));
            }
            let mut ending = None;
            let Self { socket: asked, interfaces, .. } = self;
            let interrupted = reply::each_message(
                &self.buffer[..length],
                self.sequence,
                flavour,
                |message| match message {
                    Reply::Socket(mut socket) => {
                        interfaces.name(asked, &mut socket);
                        visit(socket);
                        if single {
                            ending = Some(0);
                        }
                    }
                    Reply::Done(code) | Reply::Refused(code) => ending = Some(code),
                    Reply::Other => {}
                },
            )
            .map_err(undecodable)?;
            any_interrupted |= interrupted;
            match ending {
                Some(0) => return Ok(ConversationEnd::Complete { interrupted: any_interrupted }),
                Some(code) => return Ok(ConversationEnd::Refused(code)),
                None => {}
            }
        }
    }

    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

pub(super) fn refusal(operation: &'static str, flavour: TcpFlavour, code: i32) -> Error {
    if code == Errno::NOENT.raw_os_error() {
        let (protocol, module) = match flavour {
            TcpFlavour::Tcp => ("TCP", "tcp_diag"),
            TcpFlavour::Mptcp => ("MPTCP", "mptcp_diag"),
        };
        return Error::NotSupported { operation, protocol, module };
    }
    Error::from_system(operation, io::Error::from_raw_os_error(code))
}
