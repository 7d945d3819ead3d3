//! Destroys a socket by SOCK_DESTROY, as `ss --kill` does.
//!
//! Also a part of the program that leaks on purpose, so that it depends on nothing else here.

use std::io::{Error, Result};
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// include/uapi/linux/sock_diag.h and netlink.h
const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST_ACK: u16 = 0x05;

/// Length of a netlink header and an inet_diag_req_v2 (include/uapi/linux/inet_diag.h).
const LENGTH: u32 = 72;

/// Destroys the socket with these addresses and this cookie, in the network namespace of the calling thread.
///
/// # Errors
/// When the kernel refuses: CONFIG_INET_DIAG_DESTROY may be off.
pub(crate) fn destroy(local: SocketAddr, remote: SocketAddr, cookie: u64) -> Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::send(&socket, &request(local, remote, cookie), SendFlags::empty())?;
    let mut answer = [0_u8; 256];
    rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    // NLMSG_ERROR: the error follows the header, and is 0 for success.
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(Error::from_raw_os_error(-error)),
    }
}

fn request(local: SocketAddr, remote: SocketAddr, cookie: u64) -> Vec<u8> {
    let octets = |address: SocketAddr| {
        let mut octets = [0; 16];
        match address.ip() {
            IpAddr::V4(address) => octets[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => octets.copy_from_slice(&address.octets()),
        }
        octets
    };
    let mut bytes = Vec::new();
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DESTROY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port
    // AF_INET, AF_INET6, IPPROTO_TCP
    bytes.extend([if local.is_ipv4() { 2 } else { 10 }, 6, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes()); // any state
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    bytes.extend(octets(local));
    bytes.extend(octets(remote));
    bytes.extend([0; 4]); // any interface
    bytes.extend(((cookie & 0xffff_ffff) as u32).to_ne_bytes());
    bytes.extend(((cookie >> 32) as u32).to_ne_bytes());
    bytes
}
