//! The other end of a way: it closes first. It judges nothing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{connect, until};

/// A request of HTTP, which nobody answers.
pub(crate) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: way\r\n\r\n";

/// What a peer says before it closes.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// Each answers a message; without any, it does not wait for one.
    answers: &'static [&'static str],
    /// Bytes of a body that never ends, after the answers.
    unread: usize,
}

impl Peer {
    /// Closes at once.
    pub(crate) const CLOSES: Self = Self { answers: &[], unread: 0 };
    /// Answers a request, and is believed to keep the connection.
    pub(crate) const HTTP: Self = Self {
        answers: &[
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nKeep-Alive: timeout=600\r\n\r\nok",
        ],
        unread: 0,
    };
    /// Promises more than it sends, and sends more than anybody reads ahead.
    pub(crate) const ENDLESS: Self =
        Self { answers: &["HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"], unread: 50_000 };
    /// Redis.
    pub(crate) const REDIS: Self = Self { answers: &["+PONG\r\n"], unread: 0 };
    /// PostgreSQL, which lets everybody in.
    pub(crate) const POSTGRESQL: Self = Self {
        answers: &[concat!(
            "R\0\0\0\x08\0\0\0\0",
            "S\0\0\0\x19client_encoding\0UTF8\0",
            "S\0\0\0\x18server_version\x0015.0\0",
            "S\0\0\0\x17DateStyle\0ISO, MDY\0",
            "Z\0\0\0\x05I"
        )],
        unread: 0,
    };

    /// Listens at a port, and serves whoever connects, for as long as this process lives.
    pub(crate) fn listen(self, port: u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Whoever left early wants no answer.
                let _left = self.serve(stream);
            }
        });
    }

    fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        for answer in self.answers {
            let mut message = [0; 4096];
            if stream.read(&mut message)? == 0 {
                return Ok(());
            }
            stream.write_all(answer.as_bytes())?;
        }
        stream.write_all(&vec![b'x'; self.unread])
    }
}

/// A client that says something, and leaves as soon as it has been accepted.
pub(crate) fn leave(port: u16, says: &str) {
    let mut client = connect(port);
    client.write_all(says.as_bytes()).expect("a client may speak");
    let own = client.local_addr().expect("a connection has an address").port();
    let filter = format!("sport = :{port} and dport = :{own}");
    let is_accepted = || {
        let seen = crate::support::kernel::established(&filter);
        seen.iter().any(|socket| !socket.holders.is_empty())
    };
    until("a client is accepted", is_accepted, || crate::support::kernel::shown(None, &filter));
}
