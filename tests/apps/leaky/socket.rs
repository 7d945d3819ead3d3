//! TCP sockets as the kernel has them: making them, and asking for state, cookie and addresses.
//!
//! Every wait has a limit and says what it waited for; nothing here knows why a socket leaks.

use crate::message::{Ends, SocketFacts};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long any wait may take before it is an error.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// `enum` in include/net/tcp_states.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub(crate) enum State {
    FinWait1 = 4,
    FinWait2 = 5,
    Close = 7,
    CloseWait = 8,
}

pub(crate) fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Thousands of sockets do not fit into the usual soft limit of open files.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A refusal shows later as EMFILE, with the number that was asked for.
    let _refused = setrlimit(Resource::Nofile, limit);
}

pub(crate) fn stream(address: &SocketAddr, mptcp: bool) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = if mptcp { ipproto::MPTCP } else { ipproto::TCP };
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(protocol))
        .with_context(|| format!("cannot make a socket for {address}"))
}

pub(crate) fn listen(address: &SocketAddr, share_port: bool, mptcp: bool) -> Result<OwnedFd> {
    let listener = stream(address, mptcp)?;
    if share_port {
        rustix::net::sockopt::set_socket_reuseport(&listener, true)?;
    }
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&listener, false)?;
    }
    rustix::net::bind(&listener, address).with_context(|| format!("cannot bind {address}"))?;
    rustix::net::listen(&listener, 4096)?;
    Ok(listener)
}

/// The address a client has to use to reach a listener.
pub(crate) fn address_to_dial(listener: &OwnedFd) -> Result<SocketAddr> {
    let bound = SocketAddr::try_from(rustix::net::getsockname(listener)?)?;
    // The wildcard is bound for the v4-mapped family, and reached over IPv4.
    let address = if bound.ip().is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { bound.ip() };
    Ok(SocketAddr::new(address, bound.port()))
}

pub(crate) fn facts(socket: &OwnedFd) -> Result<SocketFacts> {
    Ok(SocketFacts { fd: socket.as_raw_fd(), cookie: cookie(socket)?, ends: ends(socket)? })
}

pub(crate) fn cookie(socket: &OwnedFd) -> Result<u64> {
    rustix::net::sockopt::socket_cookie(socket).context("no socket cookie")
}

pub(crate) fn ends(socket: &OwnedFd) -> Result<Ends> {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let local = SocketAddr::try_from(rustix::net::getsockname(socket)?)?;
    let remote = rustix::net::getpeername(socket)?.context("not connected")?;
    Ok(Ends { local: plain(local), remote: plain(SocketAddr::try_from(remote)?) })
}

fn tcp_info(socket: BorrowedFd<'_>) -> Result<libc::tcp_info> {
    // SAFETY: tcp_info is plain numbers, for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>())?;
    // SAFETY: the pointers are to live values, and the length is that of the first.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    ensure!(answer == 0, "TCP_INFO: {}", std::io::Error::last_os_error());
    Ok(info)
}

/// Connections that wait in a listener's queue (tcpi_unacked of a listener is its sk_ack_backlog).
pub(crate) fn backlog(listener: BorrowedFd<'_>) -> Result<u32> {
    Ok(tcp_info(listener)?.tcpi_unacked)
}

/// Waits until the kernel says that the socket is in `state`.
pub(crate) fn await_state(socket: BorrowedFd<'_>, state: State) -> Result<()> {
    // TCP_INFO of an MPTCP socket is that of its first subflow, which stays ESTABLISHED when the
    // connection has come to CLOSE_WAIT, except where the other end is plain TCP.
    let is_mptcp = rustix::net::sockopt::socket_protocol(socket)? == Some(ipproto::MPTCP);
    let until = Instant::now() + LIMIT;
    loop {
        let hung_up = is_mptcp && has_hung_up(socket)?;
        // Asked after the poll, because it waits for the lock under which the state is changed.
        let seen = tcp_info(socket)?.tcpi_state;
        if hung_up || seen == state as u8 {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("awaited {state:?} for {LIMIT:?}, the socket is in state {seen}");
        }
        // The state has no event of its own for every case; a millisecond is below what it is read for.
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn has_hung_up(socket: BorrowedFd<'_>) -> Result<bool> {
    let mut one = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    rustix::event::poll(&mut one, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(one.iter().any(|one| one.revents().contains(PollFlags::RDHUP)))
}

/// Reads until the end of file, for at most `LIMIT` between two reads.
pub(crate) fn read_to_end(socket: &OwnedFd) -> Result<()> {
    rustix::net::sockopt::set_socket_timeout(socket, rustix::net::sockopt::Timeout::Recv, Some(LIMIT))?;
    let mut buffer = [0_u8; 4096];
    while rustix::io::read(socket, &mut buffer).context("awaited the end of file")? > 0 {}
    Ok(())
}

/// Has the kernel ask each second whether the peer is still there.
pub(crate) fn keep_alive(socket: &OwnedFd) -> Result<()> {
    let second = Duration::from_secs(1);
    rustix::net::sockopt::set_tcp_keepidle(socket, second)?;
    rustix::net::sockopt::set_tcp_keepintvl(socket, second)?;
    Ok(rustix::net::sockopt::set_socket_keepalive(socket, true)?)
}

/// Throws away what can be read without waiting; false when the end of file was among it.
pub(crate) fn drain(socket: &OwnedFd) -> bool {
    let mut buffer = [0_u8; 4096];
    loop {
        match rustix::net::recv(socket, &mut buffer, rustix::net::RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return false,
            Ok(_) => {}
            Err(error) => return error == rustix::io::Errno::AGAIN,
        }
    }
}
