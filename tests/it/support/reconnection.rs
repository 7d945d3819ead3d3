//! A listener, and connections to it from a chosen port, so that a test can connect again between the same two
//! ports.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::far_host;
use super::truth::Truth;

pub(crate) struct Listener {
    socket: Socket,
    /// Where clients connect from.
    clients: IpAddr,
    /// Where they connect to.
    pub address: SocketAddr,
}

/// Both ends of a connection.
pub(crate) struct Connection {
    pub near: Socket,
    pub far: Socket,
}

impl Listener {
    pub(crate) fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into())
    }

    /// Listens at this address, and has clients connect from it.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::bound_to(SocketAddr::new(address, 0))
    }

    /// Listens on this port.
    pub(crate) fn on_port(port: u16) -> Self {
        Self::bound_to(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
    }

    fn bound_to(address: SocketAddr) -> Self {
        let socket = reusing();
        socket.bind(&address.into()).unwrap();
        socket.listen(16).unwrap();
        let bound = socket.local_addr().unwrap().as_socket().unwrap();
        Self { socket, clients: address.ip(), address: bound }
    }

    /// Whose clients are on a host elsewhere, and see it there too.
    pub(crate) fn of_far_clients() -> Self {
        let mut listener = Self::at(far_host::HERE);
        listener.address.set_ip(far_host::THERE);
        listener
    }

    /// Connects from this port; with 0, the kernel chooses one.
    pub(crate) fn connect_from(&self, port: u16) -> Connection {
        self.accept(self.dial_from(self.clients, port))
    }

    /// Connects from this address and port.
    pub(crate) fn dial_from(&self, client: IpAddr, port: u16) -> Socket {
        let far = reusing();
        far.bind(&SocketAddr::new(client, port).into()).unwrap();
        far.connect(&self.address.into()).unwrap();
        far
    }

    /// Accepts the connection of this client, which is the only one that waits.
    pub(crate) fn accept(&self, far: Socket) -> Connection {
        let (near, _) = self.socket.accept().unwrap();
        for end in [&near, &far] {
            end.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        Connection { near, far }
    }
}

fn reusing() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket
}

impl Connection {
    /// Has the far end send its FIN, and returns when the near one has read it.
    pub(crate) fn half_close(&self) {
        self.far.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(receive(&self.near), Ok(0), "the end of file");
    }

    /// Whether a byte gets to the near end and another one back.
    pub(crate) fn is_sound(&self) -> bool {
        let there = self.far.send(b"?").is_ok() && receive(&self.near) == Ok(1);
        there && self.near.send(b"!").is_ok() && receive(&self.far) == Ok(1)
    }

    /// Ends the connection by a reset, so that neither end stays in TIME_WAIT. Returns the far end's port.
    pub(crate) fn vanish(self) -> u16 {
        let port = self.far.local_addr().unwrap().as_socket().unwrap().port();
        self.near.set_linger(Some(Duration::ZERO)).unwrap();
        drop(self.near);
        // The reset has arrived when the far end has it.
        let _reset = receive(&self.far);
        port
    }

    /// The truth about the near end. What it calls its peer need not be what the far end calls itself.
    pub(crate) fn truth(&self) -> Truth {
        Truth::of("connection", &self.near)
    }
}

/// Reads a byte: returns how many came, or the error number.
pub(crate) fn receive(socket: &Socket) -> Result<usize, Option<i32>> {
    socket.recv(&mut [MaybeUninit::uninit(); 1]).map_err(|error| error.raw_os_error())
}

/// The kernel's number of a socket's state: `tcpi_state`, the first byte of `struct tcp_info`.
pub(crate) fn state(socket: &Socket) -> u8 {
    let (mut state, mut length) = (0_u8, 1);
    // SAFETY: both point to where the kernel may write one byte and the length.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        )
    };
    assert_eq!((answer, length), (0, 1), "tcp_info: {}", std::io::Error::last_os_error());
    state
}
