//! A wire to a host elsewhere, as far as anybody can tell: who connects to `THERE` reaches `HERE`, from `THERE`.
//!
//! A tunnel swaps the addresses of each packet, so that neither socket has the addresses of the other's other end. The
//! checksums stay right, because they are sums. A wire that is cut swallows every packet, and nobody is told.

use crate::channel::Channel;
use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsRawFd as _, OwnedFd};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;

/// The address of this host on the wire.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 1);

/// The address of the host elsewhere.
pub(crate) const THERE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 2);

/// include/uapi/linux/if_tun.h
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TUN: libc::c_short = 0x0001;
const IFF_NO_PI: libc::c_short = 0x1000;

pub(super) struct Wire {
    tunnel: File,
    pub is_cut: bool,
}

impl Wire {
    /// In the network namespace of the process, which has to be one of its own.
    pub(super) fn open() -> Result<Self> {
        let tunnel = File::options().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
        let mut request = interface();
        request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI;
        ask(tunnel.as_raw_fd(), TUNSETIFF, &mut request)?;
        let any =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
        set_address(&any, libc::SIOCSIFADDR, HERE)?;
        set_address(&any, libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0))?;
        let mut request = interface();
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING)?;
        ask(any.as_raw_fd(), libc::SIOCSIFFLAGS, &mut request)?;
        Ok(Self { tunnel, is_cut: false })
    }

    /// Lets packets through until a request comes.
    pub(super) fn carry_until_asked(&mut self, channel: &Channel) -> Result<()> {
        // Longer than the MTU of the interface.
        let mut packet = [0_u8; 4096];
        loop {
            let mut waiting =
                [PollFd::new(channel.stream(), PollFlags::IN), PollFd::new(&self.tunnel, PollFlags::IN)];
            rustix::event::poll(&mut waiting, None)?;
            let [request, packets] = waiting.map(|one| !one.revents().is_empty());
            if packets {
                let length = self.tunnel.read(&mut packet)?;
                self.carry(packet.get_mut(..length).context("a packet")?)?;
            }
            if request {
                return Ok(());
            }
        }
    }

    fn carry(&mut self, packet: &mut [u8]) -> Result<()> {
        let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
        let Some(addresses) = packet.get_mut(12..20).filter(|_| is_v4 && !self.is_cut) else {
            return Ok(());
        };
        addresses.rotate_left(4);
        self.tunnel.write_all(packet).context("the tunnel takes no packet")
    }
}

fn interface() -> libc::ifreq {
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"far") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request
}

fn set_address(any: &OwnedFd, which: libc::c_ulong, address: Ipv4Addr) -> Result<()> {
    let mut request = interface();
    let inet = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET)?,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: both are plain data of one size.
    request.ifr_ifru.ifru_addr = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(inet) };
    ask(any.as_raw_fd(), which, &mut request)
}

fn ask(descriptor: i32, what: libc::c_ulong, request: &mut libc::ifreq) -> Result<()> {
    // SAFETY: each of these requests reads an ifreq, and may write one.
    let answer = unsafe { libc::ioctl(descriptor, what as _, &raw mut *request) };
    ensure!(answer == 0, "the wire ({what:#x}): {}", std::io::Error::last_os_error());
    Ok(())
}
