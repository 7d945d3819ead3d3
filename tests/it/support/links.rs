//! Two links on which the peer has the same link-local address, in namespaces of the test's own.

use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::process::Command;

use socket2::{Domain, SockAddr, Socket, Type};

use super::limit;
use super::netns::Netns;
use super::process::Process;

/// The names of this side's interfaces.
pub(crate) const LINKS: [&str; 2] = ["left", "right"];

/// The address of this side and of the peer, on both links.
pub(crate) const HERE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The port of the peer on both links.
pub(crate) const PORT: u16 = 8000;

pub(crate) struct Links {
    pub here: Netns,
    listeners: [TcpListener; 2],
    /// By which the tool finds the namespaces.
    _inhabitants: Vec<Process>,
}

/// A connection: this side, and the peer's.
pub(crate) struct Connection {
    pub here: Socket,
    pub peer: TcpStream,
}

impl Links {
    pub(crate) fn new() -> Self {
        let [here, left, right] = [(); 3].map(|()| Netns::new());
        let inhabitants: Vec<Process> = [&here, &left, &right].map(inhabit).into();
        for (link, (peer, inhabitant)) in LINKS.iter().zip([&left, &right].into_iter().zip(&inhabitants[1..]))
        {
            let pid = inhabitant.pid().to_string();
            ip(&here, &["link", "add", link, "type", "veth", "peer", "name", "far", "netns", &pid]);
            for (netns, device, address) in [(&here, *link, HERE), (peer, "far", PEER)] {
                ip(netns, &["link", "set", device, "addrgenmode", "none", "up"]);
                ip(netns, &["address", "add", &format!("{address}/64"), "dev", device, "nodad"]);
            }
        }
        let listeners = [left, right].map(|netns| {
            netns.within(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).expect("a free port"))
        });
        Self { here, listeners, _inhabitants: inhabitants }
    }

    /// Connects over a link, from a port of this side, or from any (0).
    pub(crate) fn connect(&self, link: usize, from: u16) -> Connection {
        let here = self.here.within(|| {
            let index = index_of(LINKS[link]);
            let at = |address, port| SockAddr::from(SocketAddrV6::new(address, port, 0, index));
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
            socket.set_reuse_address(true).expect("an option");
            socket.bind(&at(HERE, from)).expect("an address");
            socket.connect(&at(PEER, PORT)).expect("a connection");
            socket
        });
        Connection { here, peer: self.listeners[link].accept().expect("a connection").0 }
    }
}

impl Connection {
    /// Has the peer close, and returns this side when it is in CLOSE_WAIT.
    pub(crate) fn closed_by_peer(self) -> Socket {
        let Self { here, peer } = self;
        drop(peer);
        here.set_read_timeout(Some(limit())).expect("an option");
        let read = here.recv_with_flags(&mut [std::mem::MaybeUninit::uninit()], libc::MSG_PEEK);
        assert_eq!(read.expect("the end of file"), 0);
        here
    }
}

/// Starts a process that only is in a namespace.
fn inhabit(netns: &Netns) -> Process {
    let mut command = Command::new("cat");
    netns.enter(&mut command);
    Process::start(&mut command).0
}

/// The index of an interface of this thread's namespace.
fn index_of(name: &str) -> u32 {
    let any = std::net::UdpSocket::bind("[::]:0").expect("a socket");
    rustix::net::netdevice::name_to_index(&any, name).expect("an interface")
}

fn ip(netns: &Netns, arguments: &[&str]) {
    let mut command = Command::new("ip");
    netns.enter(command.args(arguments));
    let output = command.output().expect("ip runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
