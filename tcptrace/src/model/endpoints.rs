//! The endpoints of a connection, in a form that is cheap to copy and compare for every transition.

use std::{
    cmp::Ordering,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// An address with a port. IPv4-mapped IPv6 addresses count as IPv4.
///
/// Same content as [`SocketAddr`] in 18 bytes instead of 32, and compared without a match on the family.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// In network byte order; IPv4 in its v4-mapped form.
    octets: [u8; 16],
    port: u16,
}

/// The first 96 bits of an IPv4-mapped IPv6 address: RFC 4291, section 2.5.5.2.
const MAPPED: u128 = 0xffff << 32;

impl Endpoint {
    /// 0.0.0.0:0.
    pub const UNSPECIFIED: Self = Self { octets: MAPPED.to_be_bytes(), port: 0 };

    /// A port at an address.
    pub fn new(address: IpAddr, port: u16) -> Self {
        let mut endpoint = Self { port, ..Self::UNSPECIFIED };
        endpoint.set_ip(address);
        endpoint
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        let bits = u128::from_be_bytes(self.octets);
        // Like `IpAddr::to_canonical`, with two comparisons instead of twelve: every record has two addresses.
        match u32::try_from(bits ^ MAPPED) {
            Ok(ipv4) => IpAddr::V4(Ipv4Addr::from_bits(ipv4)),
            Err(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }

    /// The port; 0 for the peer of a listener.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Replaces the address and keeps the port.
    pub fn set_ip(&mut self, address: IpAddr) {
        self.octets = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
    }

    /// Replaces the port and keeps the address.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// Addresses of listeners that accept connections to this address, in the kernel's order of preference: the address
    /// itself, then the wildcards. An IPv6 wildcard accepts IPv4 as well.
    pub fn listened_at(self) -> [Self; 3] {
        let any = |ip: IpAddr| Self::new(ip, self.port);
        let any_v6 = any(Ipv6Addr::UNSPECIFIED.into());
        let any_of_family = if self.ip().is_ipv4() { any(Ipv4Addr::UNSPECIFIED.into()) } else { any_v6 };
        [self, any_of_family, any_v6]
    }

    /// Whether the address is the same, whatever the port.
    pub fn is_at(&self, other: &Self) -> bool {
        self.octets == other.octets
    }
}

/// Same order as [`SocketAddr`]: IPv4 comes first.
impl Ord for Endpoint {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.ip(), self.port).cmp(&(other.ip(), other.port))
    }
}

impl PartialOrd for Endpoint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), address.port())
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.ip(), endpoint.port)
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for Endpoint {
    fn from((address, port): (I, u16)) -> Self {
        Self::new(address.into(), port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(formatter)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
impl std::str::FromStr for Endpoint {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<SocketAddr>().map(Self::from)
    }
}

impl serde::Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Both endpoints of a connection, seen from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// This side.
    pub local: Endpoint,
    /// The peer; port 0 for a listener.
    pub remote: Endpoint,
}

impl Endpoints {
    /// From addresses in network byte order (IPv4 as v4-mapped) and ports.
    #[must_use]
    pub fn new(laddr: [u8; 16], lport: u16, raddr: [u8; 16], rport: u16) -> Self {
        let end = |octets, port| Endpoint { octets, port };
        Self { local: end(laddr, lport), remote: end(raddr, rport) }
    }

    /// 4 or 6.
    #[must_use]
    pub fn family(&self) -> u8 {
        if self.local.ip().is_ipv4() { 4 } else { 6 }
    }

    /// Whether both ends have addresses that every network namespace has of its own.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.local.ip().is_loopback() && self.remote.ip().is_loopback()
    }

    /// Whether the connection cannot leave its network namespace, by its addresses alone.
    #[must_use]
    pub fn is_within_host(&self) -> bool {
        self.is_loopback() || self.local.is_at(&self.remote)
    }

    /// The same, seen from the peer.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self { local: self.remote, remote: self.local }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_ipv4() {
        let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
        let endpoints = Endpoints::new(mapped, 80, mapped, 5000);
        assert_eq!(endpoints.family(), 4);
        assert_eq!(endpoints.local.to_string(), "192.0.2.1:80");
        assert_eq!(endpoints.local, ([192, 0, 2, 1], 80).into());
        // The bits of a mapped prefix in another place do not count.
        for address in ["::c000:201", "64:ff9b::ffff:c000:201", "::1", "::", "::fffe:c000:201"] {
            let octets = address.parse::<Ipv6Addr>().unwrap().octets();
            let end = Endpoints::new(octets, 80, octets, 5000).local;
            assert_eq!(end.ip().to_string(), address);
            assert_eq!(Endpoint::from(SocketAddr::from(end)), end);
        }
    }

    #[test]
    fn the_order_is_that_of_socket_addresses() {
        let texts = ["[::1]:80", "10.0.0.2:80", "[2001:db8::1]:443", "10.0.0.2:9", "0.0.0.0:0", "[::]:1"];
        let mut endpoints = texts.map(|text| text.parse::<Endpoint>().unwrap());
        let mut addresses = texts.map(|text| text.parse::<SocketAddr>().unwrap());
        endpoints.sort();
        addresses.sort();
        assert_eq!(endpoints.map(SocketAddr::from), addresses);
    }
}
