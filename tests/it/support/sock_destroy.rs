//! Destroys a socket by SOCK_DESTROY, as `ss --kill` does.

use std::net::IpAddr;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::truth::Truth;

/// include/uapi/linux/sock_diag.h and netlink.h
const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST_ACK: u16 = 0x05;

/// Length of a netlink header and an inet_diag_req_v2 (include/uapi/linux/inet_diag.h).
const LENGTH: usize = 72;

/// Destroys the socket, in this test's own network namespace.
pub(crate) fn destroy(truth: &Truth) {
    let request = request(truth);
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )
    .expect("a netlink socket");
    rustix::net::send(&socket, &request, SendFlags::empty()).expect("SOCK_DESTROY is sent");
    let mut answer = [0_u8; 256];
    rustix::net::recv(&socket, &mut answer, RecvFlags::empty()).expect("an answer to SOCK_DESTROY");
    // NLMSG_ERROR: the error follows the header, and is 0 for success.
    let error = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
    let error = std::io::Error::from_raw_os_error(-error);
    assert_eq!(error.raw_os_error(), Some(0), "SOCK_DESTROY is refused (CONFIG_INET_DIAG_DESTROY?): {error}");
}

fn request(truth: &Truth) -> Vec<u8> {
    let octets = |address: &str| {
        let mut octets = [0; 16];
        match address.parse().expect("an address") {
            IpAddr::V4(address) => octets[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => octets.copy_from_slice(&address.octets()),
        }
        octets
    };
    let cookie = truth.cookie.expect("a cookie");
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend(u32::try_from(LENGTH).unwrap().to_ne_bytes());
    bytes.extend(SOCK_DESTROY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port
    let family = if truth.family == 4 { libc::AF_INET } else { libc::AF_INET6 };
    bytes.extend([family.try_into().unwrap(), libc::IPPROTO_TCP.try_into().unwrap(), 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes()); // any state
    bytes.extend(truth.lport.to_be_bytes());
    bytes.extend(truth.rport.to_be_bytes());
    bytes.extend(octets(&truth.laddr));
    bytes.extend(octets(&truth.raddr));
    bytes.extend([0; 4]); // any interface
    bytes.extend(((cookie & 0xffff_ffff) as u32).to_ne_bytes());
    bytes.extend(((cookie >> 32) as u32).to_ne_bytes());
    assert_eq!(bytes.len(), LENGTH);
    bytes
}
