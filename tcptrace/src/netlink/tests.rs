//! Live: real sockets of this process, found by their own cookies. No privilege is needed, except
//! where another network namespace is entered. `cargo xtask test` runs them.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may stop at the first surprise")]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use super::*;
use crate::model::{socket::TcpFlavour, state::StateSet};

fn cookie_of(socket: impl AsFd) -> u64 {
    rustix::net::sockopt::socket_cookie(socket).unwrap()
}

fn all(diag: &mut SockDiag, flavour: TcpFlavour, states: StateSet) -> Vec<DiagSocket> {
    let mut sockets = Vec::new();
    let dump = diag.dump(flavour, states, true, |socket| sockets.push(socket)).unwrap();
    assert!(!dump.interrupted);
    sockets
}

/// Dumps CLOSE_WAIT until `wanted` is among them.
fn await_close_wait(
    diag: &mut SockDiag,
    flavour: TcpFlavour,
    wanted: impl Fn(&DiagSocket) -> bool,
) -> DiagSocket {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let sockets = all(diag, flavour, StateSet::CLOSE_WAIT);
        if let Some(socket) = sockets.iter().find(|socket| wanted(socket)) {
            return socket.clone();
        }
        assert!(Instant::now() < deadline, "not in CLOSE_WAIT after 10 s; there are {sockets:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn inode_of(socket: impl AsFd) -> u32 {
    rustix::fs::fstat(socket).unwrap().st_ino.try_into().unwrap()
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn a_held_close_wait_socket_is_found_by_its_cookie_with_queue_inode_uid_and_times() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut held, peer_address) = listener.accept().unwrap();
    peer.write_all(b"12345").unwrap();
    drop(peer);

    let mut diag = SockDiag::open_here().unwrap();
    let cookie = cookie_of(&held);
    let socket = await_close_wait(&mut diag, TcpFlavour::Tcp, |socket| socket.cookie == cookie);
    assert_eq!((socket.family, socket.state), (4, 8));
    assert_eq!((socket.local, socket.remote), (held.local_addr().unwrap().into(), peer_address.into()));
    assert_eq!(socket.inode, inode_of(&held));
    assert_eq!(socket.uid, rustix::process::geteuid().as_raw());
    assert_eq!(socket.recv_q, 6, "five bytes and the FIN");
    assert_eq!(socket.minisocket_left_ms, None);
    let times = socket.times.unwrap();
    assert!(times.last_ack_recv_ms < 60_000 && times.last_data_recv_ms < 60_000, "{times:?}");

    held.read_exact(&mut [0; 4]).unwrap();
    let again = diag.lookup(TcpFlavour::Tcp, &socket.id(), false).unwrap().unwrap();
    assert_eq!((again.cookie, again.recv_q, again.times), (cookie, 2, None), "one byte and the FIN");
    // The FIN lies in the same buffer as the data here, and goes with its last byte: the application
    // has not seen the end of file yet, the queue is empty all the same.
    held.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(diag.lookup(TcpFlavour::Tcp, &socket.id(), false).unwrap().unwrap().recv_q, 0);

    let stranger = SocketId { cookie: cookie + 1_000_000, ..socket.id() };
    assert_eq!(diag.lookup(TcpFlavour::Tcp, &stranger, false).unwrap(), None, "another socket's cookie");
    drop(held);
    assert_eq!(diag.lookup(TcpFlavour::Tcp, &socket.id(), false).unwrap(), None, "closed");
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn an_end_of_file_that_came_after_everything_was_read_counts_one_byte_until_it_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut held, _) = listener.accept().unwrap();
    peer.write_all(b"12345").unwrap();
    held.read_exact(&mut [0; 5]).unwrap();
    drop(peer);
    let mut diag = SockDiag::open_here().unwrap();
    let cookie = cookie_of(&held);
    let socket = await_close_wait(&mut diag, TcpFlavour::Tcp, |socket| socket.cookie == cookie);
    assert_eq!(socket.recv_q, 1);
    assert_eq!(held.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(diag.lookup(TcpFlavour::Tcp, &socket.id(), false).unwrap().unwrap().recv_q, 0);
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn a_socket_that_was_never_accepted_has_no_inode() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer_address = peer.local_addr().unwrap();
    drop(peer);
    let mut diag = SockDiag::open_here().unwrap();
    let socket = await_close_wait(&mut diag, TcpFlavour::Tcp, |socket| socket.remote == peer_address.into());
    assert_eq!((socket.family, socket.inode, socket.recv_q), (6, 0, 1));

    let listening = all(&mut diag, TcpFlavour::Tcp, StateSet::LISTEN);
    let cookie = cookie_of(&listener);
    let found = listening.iter().find(|socket| socket.cookie == cookie).unwrap();
    assert_eq!(
        (found.local, found.recv_q),
        (listener.local_addr().unwrap().into(), 1),
        "one waits for accept()"
    );
    assert_eq!(found.inode, inode_of(&listener));
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn a_mapped_connection_counts_as_ipv4_and_is_found_again() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (held, _) = listener.accept().unwrap();
    drop(peer);
    let mut diag = SockDiag::open_here().unwrap();
    let cookie = cookie_of(&held);
    let socket = await_close_wait(&mut diag, TcpFlavour::Tcp, |socket| socket.cookie == cookie);
    assert_eq!(socket.family, 4);
    assert_eq!(socket.local, (Ipv4Addr::LOCALHOST, port).into());
    assert_eq!(diag.lookup(TcpFlavour::Tcp, &socket.id(), true).unwrap().unwrap().cookie, cookie);
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn time_wait_is_a_minisocket_with_the_time_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut first = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let first_address = first.local_addr().unwrap();
    let (second, _) = listener.accept().unwrap();
    first.shutdown(Shutdown::Write).unwrap();
    drop(second);
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0, "both ends have closed");
    drop(first);
    let mut diag = SockDiag::open_here().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let socket = loop {
        let waiting = all(&mut diag, TcpFlavour::Tcp, StateSet::TIME_WAIT);
        // The port alone is not enough: another connection from it, to elsewhere, may be in TIME_WAIT too.
        let is_ours = |socket: &DiagSocket| {
            (socket.local, socket.remote) == (first_address.into(), listener.local_addr().unwrap().into())
        };
        if let Some(socket) = waiting.into_iter().find(is_ours) {
            break socket;
        }
        assert!(Instant::now() < deadline, "not in TIME_WAIT after 10 s");
    };
    assert!((1..=60_000).contains(&socket.minisocket_left_ms.unwrap()), "{socket:?}");
    assert_eq!((socket.inode, socket.times), (0, None));
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn an_mptcp_socket_is_listed_apart_from_its_subflows() {
    use socket2::{Domain, Protocol, Socket, Type};
    let open = || {
        Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP))
            .expect("this test needs MPTCP: a kernel with CONFIG_MPTCP and `sysctl net.mptcp.enabled=1`")
    };
    let listener = open();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let peer = open();
    peer.connect(&listener.local_addr().unwrap()).unwrap();
    let (mut held, _) = listener.accept().unwrap();
    (&peer).write_all(b"x").unwrap();
    held.read_exact(&mut [0; 1]).unwrap();
    drop(peer);
    let mut diag = SockDiag::open_here().unwrap();
    let cookie = cookie_of(&held);
    let socket = await_close_wait(&mut diag, TcpFlavour::Mptcp, |socket| socket.cookie == cookie);
    assert_eq!(socket.inode, inode_of(&held));
    assert_eq!(socket.local, held.local_addr().unwrap().as_socket().unwrap().into());
    assert_eq!(diag.lookup(TcpFlavour::Mptcp, &socket.id(), false).unwrap().unwrap().cookie, cookie);
    let subflows = all(&mut diag, TcpFlavour::Tcp, StateSet::ALL);
    assert!(subflows.iter().all(|subflow| subflow.cookie != cookie));
    let within =
        subflows.iter().find(|subflow| (subflow.local, subflow.remote) == (socket.local, socket.remote));
    assert!(within.unwrap().is_mptcp_subflow);
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn a_dump_of_no_states_walks_nothing_and_still_proves_support() {
    let mut diag = SockDiag::open_here().unwrap();
    diag.probe(TcpFlavour::Tcp).unwrap();
    assert_eq!(all(&mut diag, TcpFlavour::Tcp, StateSet::NONE), []);
}

/// A connection in CLOSE_WAIT from a port that can be used again.
fn half_closed_from(listener: &TcpListener, port: u16) -> (TcpStream, TcpStream) {
    use socket2::{Domain, Socket, Type};
    let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    peer.set_reuse_address(true).unwrap();
    peer.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    peer.connect(&listener.local_addr().unwrap().into()).unwrap();
    let (mut held, _) = listener.accept().unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(held.read(&mut [0; 1]).unwrap(), 0);
    (held, peer.into())
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn only_the_very_socket_is_ended_and_never_the_one_that_took_its_place() {
    let mut diag = SockDiag::open_here().unwrap();
    diag.probe_destroy().expect("this test needs CONFIG_INET_DIAG_DESTROY");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (old, old_peer) = half_closed_from(&listener, 0);
    let id = |held: &TcpStream| SocketId {
        cookie: cookie_of(held),
        local: held.local_addr().unwrap().into(),
        remote: held.peer_addr().unwrap().into(),
        interface: 0,
    };
    let (old_id, port) = (id(&old), old_peer.local_addr().unwrap().port());
    // A reset leaves nothing behind that would keep the ports.
    socket2::SockRef::from(&old).set_linger(Some(Duration::ZERO)).unwrap();
    drop((old, old_peer));

    let (new, mut new_peer) = half_closed_from(&listener, port);
    let new_id = id(&new);
    assert_eq!((old_id.local, old_id.remote), (new_id.local, new_id.remote));
    assert!(!diag.destroy(&old_id).unwrap(), "the old one is no more");
    assert!(!diag.destroy(&SocketId { cookie: u64::MAX, ..new_id }).unwrap(), "no cookie is no wildcard");
    (&new).write_all(b"x").unwrap();
    new_peer.read_exact(&mut [0; 1]).unwrap();
    let fresh = diag.lookup(TcpFlavour::Tcp, &new_id, false).unwrap().unwrap();
    assert_eq!(fresh.state, 8, "CLOSE_WAIT");

    assert!(diag.destroy(&new_id).unwrap());
    assert_eq!(diag.lookup(TcpFlavour::Tcp, &new_id, false).unwrap(), None);
    assert!(!diag.destroy(&new_id).unwrap(), "it has ended already");
    let error = (&new).write(b"x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
}
