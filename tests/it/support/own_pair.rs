//! A leak of the test's own: a socket that the test holds and whose peer has closed, for endings that no well-behaved
//! program brings about.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::clock::monotonic_ns;
use super::reconnection::state;
use super::truth::Truth;
use super::until;

/// CLOSE of include/net/tcp_states.h.
const CLOSE: u8 = 7;

pub(crate) struct OwnPair {
    /// The end that is in CLOSE_WAIT; nobody holds the other one any more.
    pub leaked: Socket,
    pub truth: Truth,
}

impl OwnPair {
    /// Connects over IPv4 and has the peer close. The end of file has been read, as leaking programs do.
    pub(crate) fn left() -> Self {
        let mut pair = Self::unread(&[]);
        let read = std::io::Read::read(&mut &pair.leaked, &mut [0; 1]).expect("the end of file");
        assert_eq!(read, 0, "bytes that nobody sent");
        pair.truth.verdict = Some("eof_read".to_owned());
        pair.truth.recv_q = 0;
        pair
    }

    /// Connects over IPv4 and has the peer send `data` and close. Nothing has been read.
    pub(crate) fn unread(data: &[u8]) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        listener.listen(1).unwrap();
        let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        peer.connect(&listener.local_addr().unwrap()).unwrap();
        let (leaked, _) = listener.accept().unwrap();
        let entered_before_ns = monotonic_ns();
        std::io::Write::write_all(&mut &peer, data).unwrap();
        drop(peer);
        // A read of more bytes than were sent returns when the FIN has arrived.
        SockRef::from(&leaked).set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = vec![MaybeUninit::uninit(); data.len() + 1];
        let peeked = leaked.recv_with_flags(&mut buffer, libc::MSG_PEEK | libc::MSG_WAITALL);
        assert_eq!(peeked.expect("the end of file"), data.len(), "bytes that can be read");
        let entered_after_ns = monotonic_ns();
        let truth = Truth {
            verdict: Some(if data.is_empty() { "eof_unread" } else { "data_unread" }.to_owned()),
            entered_before_ns,
            entered_after_ns,
            // The FIN counts as one byte until it is read.
            recv_q: u32::try_from(data.len()).unwrap() + 1,
            ..Truth::of("own_pair", &leaked)
        };
        Self { leaked, truth }
    }

    /// Sends to the peer, whose kernel resets the connection because nobody is there to read. Returns the leaked end.
    pub(crate) fn reset(self) -> Socket {
        self.leaked.send(b"x").expect("the peer's reset comes later");
        until("the connection is reset", || state(&self.leaked) == CLOSE);
        self.leaked
    }
}
