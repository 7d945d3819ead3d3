//! A host elsewhere, as far as the tool can tell: who connects to its address reaches the own one, from the other's.
//!
//! A tunnel swaps the addresses of each packet, so that neither socket has the addresses of the other's other end. The
//! checksums stay right, because they are sums.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;

use super::netns::Netns;
use super::process::Process;

/// include/uapi/linux/if_tun.h
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TUN: libc::c_short = 0x0001;
const IFF_NO_PI: libc::c_short = 0x1000;

/// The address of this host in the tunnel.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 8, 1));

/// The address of the host elsewhere.
pub(crate) const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 8, 2));

/// A network namespace from which a host elsewhere can be reached.
pub(crate) struct FarHost {
    pub netns: Netns,
    _inhabitant: Process,
}

impl FarHost {
    pub(crate) fn new() -> Self {
        let netns = Netns::new();
        let tunnel = netns.within(open_tunnel);
        for words in ["address add 10.9.8.1/24 dev far", "link set far up"] {
            netns.ip(words);
        }
        // Ends when the interface goes with the namespace.
        std::thread::spawn(move || swap_addresses(tunnel));
        Self { _inhabitant: netns.inhabitant(), netns }
    }
}

fn open_tunnel() -> File {
    let tunnel = File::options().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"far") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI;
    // SAFETY: TUNSETIFF reads an ifreq and writes one, which `request` is.
    let answer = unsafe { libc::ioctl(tunnel.as_raw_fd(), TUNSETIFF, &raw mut request) };
    assert_eq!(answer, 0, "a tunnel: {}", std::io::Error::last_os_error());
    tunnel
}

/// Sends back each IPv4 packet with its addresses swapped.
fn swap_addresses(mut tunnel: File) {
    // Longer than the MTU of the interface.
    let mut packet = [0; 4096];
    while let Ok(length @ 20..) = tunnel.read(&mut packet) {
        if packet[0] >> 4 != 4 {
            continue;
        }
        let (source, destination) = packet[12..20].split_at_mut(4);
        source.swap_with_slice(destination);
        if tunnel.write(&packet[..length]).is_err() {
            return;
        }
    }
}
