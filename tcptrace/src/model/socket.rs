//! What identifies a socket. Knows nothing of its state.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    endpoints::{Endpoint, Endpoints},
    interface::Interface,
};

/// The kernel's two TCP protocols, which have separate tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TcpFlavour {
    /// Plain TCP. Includes the subflows of MPTCP connections: TCP sockets without a descriptor of their own (inode 0).
    Tcp,
    /// The MPTCP sockets that applications hold (Linux 5.9 with `CONFIG_MPTCP` and `mptcp_diag`).
    Mptcp,
}

/// Identifies a socket within a session. Only keys from the same tracer are comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey(pub u64);

/// A socket as it is spoken of in every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SocketFields", into = "SocketFields")]
pub struct Socket {
    /// The kernel's socket cookie, never reused; `None` if this kernel does not report it here.
    pub cookie: Option<u64>,
    /// Inode number of its network namespace; `None` if this kernel does not report it here.
    pub netns: Option<u32>,
    /// Both ends.
    pub endpoints: Endpoints,
}

impl Socket {
    /// The same with the name of its interface, if that was learned.
    #[must_use]
    pub(crate) fn named(self) -> Self {
        Self { endpoints: self.endpoints.named_in(self.netns), ..self }
    }
}

/// The fields that every record about a socket has. The family follows from the addresses: it is not read.
#[derive(Serialize, Deserialize)]
struct SocketFields {
    cookie: Option<u64>,
    netns: Option<u32>,
    #[serde(skip_deserializing)]
    family: u8,
    laddr: IpAddr,
    lport: u16,
    raddr: IpAddr,
    rport: u16,
    /// Of link-local addresses.
    #[serde(default)]
    interface: Option<Interface>,
}

impl From<Socket> for SocketFields {
    fn from(Socket { cookie, netns, endpoints }: Socket) -> Self {
        let Endpoints { local, remote } = endpoints;
        Self {
            cookie,
            netns,
            family: endpoints.family(),
            laddr: local.ip(),
            lport: local.port(),
            raddr: remote.ip(),
            rport: remote.port(),
            interface: endpoints.interface(),
        }
    }
}

impl From<SocketFields> for Socket {
    fn from(fields: SocketFields) -> Self {
        let SocketFields { cookie, netns, family: _, laddr, lport, raddr, rport, interface } = fields;
        let endpoints = Endpoints { local: Endpoint::new(laddr, lport), remote: Endpoint::new(raddr, rport) };
        Self { cookie, netns, endpoints: endpoints.on(interface) }
    }
}

/// Address of the kernel's `struct sock`: reused once the socket is closed, and never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelSocket(pub u64);

/// What identifies a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The cookie: unique until the machine reboots.
    Cookie,
    /// The address of `struct sock`: unique among living sockets only.
    Address,
}
