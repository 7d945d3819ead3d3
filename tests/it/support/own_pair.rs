//! A connection whose both ends the test itself holds, for endings that no program brings about by
//! behaving well.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::clock::monotonic_ns;
use super::truth::Truth;

pub struct OwnPair {
    /// The end that is in CLOSE_WAIT.
    pub leaked: Socket,
    pub peer: Socket,
    pub truth: Truth,
}

impl OwnPair {
    /// Connects over IPv4, and lets the peer end its sending side.
    pub fn half_closed() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        listener.listen(1).unwrap();
        let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        peer.connect(&listener.local_addr().unwrap()).unwrap();
        let (leaked, _) = listener.accept().unwrap();
        let entered_before_ns = monotonic_ns();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        // Reading the end of file is what a leaking program does, and proves that the FIN is there.
        SockRef::from(&leaked).set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let read = std::io::Read::read(&mut &leaked, &mut [0; 1]).expect("the end of file");
        assert_eq!(read, 0, "bytes that nobody sent");
        let entered_after_ns = monotonic_ns();
        let ends = |socket: &Socket| socket.local_addr().unwrap().as_socket().unwrap();
        let (local, remote) = (ends(&leaked), ends(&peer));
        let truth = Truth {
            case: "own_pair".to_owned(),
            cookie: Some(leaked.cookie().unwrap()),
            family: 4,
            laddr: local.ip().to_string(),
            lport: local.port(),
            raddr: remote.ip().to_string(),
            rport: remote.port(),
            netns: std::fs::metadata("/proc/self/ns/net").unwrap().ino(),
            holders: Vec::new(),
            opener: None,
            peer_pid: 0,
            verdict: Some("eof_read".to_owned()),
            entered_before_ns,
            entered_after_ns,
            recv_q: 0,
            bystander_pid: None,
            cgroup: None,
            stack_functions: None,
            left_after_ns: None,
        };
        Self { leaked, peer, truth }
    }

    /// The peer resets the connection; returns the end that was leaked.
    pub fn reset(self) -> Socket {
        SockRef::from(&self.peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(self.peer);
        self.leaked
    }
}
