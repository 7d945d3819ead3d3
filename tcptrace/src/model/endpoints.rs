//! The endpoints of a connection, in a form that is cheap to copy and compare for every transition.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::interface::Interface;

/// An address. IPv4-mapped IPv6 addresses count as IPv4. That of a link-local address includes the interface: each link
/// has such addresses of its own.
#[derive(Clone, Copy)]
pub struct Address(
    /// In network byte order; IPv4 in its v4-mapped form. In a link-local address, where RFC 4291 (section 2.5.6) has
    /// zeroes: the interface, its name in octets 2 and 3 and its index in octets 4 to 7, both 0 when not known. (The
    /// KAME stack had the index there too.)
    [u8; 16],
);

/// An address with a port.
///
/// Same content as [`SocketAddr`] in 18 bytes instead of 32, and compared without a match on the family.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    address: Address,
    port: u16,
}

/// fe80::/16, of which RFC 4291 has fe80::/64 assigned.
const LINK_LOCAL: u128 = 0xfe80;
/// Where a link-local address has the number of its interface's name.
const NAME: u128 = 0xffff << 96;
/// Where it has the interface's index.
const INDEX: u128 = 0xffff_ffff << 64;

/// The first 96 bits of an IPv4-mapped IPv6 address: RFC 4291, section 2.5.5.2.
const MAPPED: u128 = 0xffff << 32;

impl Address {
    fn bits(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    fn is_link_local(self) -> bool {
        self.bits() >> 112 == LINK_LOCAL
    }

    /// The address without its interface.
    pub fn ip(self) -> IpAddr {
        let bits = self.bits();
        // Like `IpAddr::to_canonical`, with two comparisons instead of twelve: every record has two addresses.
        match u32::try_from(bits ^ MAPPED) {
            Ok(ipv4) => IpAddr::V4(Ipv4Addr::from_bits(ipv4)),
            Err(_) if self.is_link_local() => IpAddr::V6(Ipv6Addr::from_bits(bits & !(NAME | INDEX))),
            Err(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }

    /// The interface of a link-local address; `None` for others, and when it is not known.
    pub fn interface(self) -> Option<Interface> {
        let bits = self.bits();
        if !self.is_link_local() || bits & (NAME | INDEX) == 0 {
            return None;
        }
        let field = |bits: u128| u32::try_from(bits).unwrap_or(0);
        let (name, index) = (field((bits & NAME) >> 96), field((bits & INDEX) >> 64));
        Some(Interface { index, name: u16::try_from(name).unwrap_or(0) })
    }

    /// The same on this interface; other addresses need none.
    #[must_use]
    pub fn on(self, interface: Option<Interface>) -> Self {
        if !self.is_link_local() {
            return self;
        }
        let Interface { index, name } = interface.unwrap_or(Interface { index: 0, name: 0 });
        let bits = self.bits() & !(NAME | INDEX);
        Self((bits | u128::from(name) << 96 | u128::from(index) << 64).to_be_bytes())
    }

    /// What distinguishes it from other addresses. The name of an interface is one only where the index is not known: it
    /// may be learned after the address was seen first.
    fn key(self) -> u128 {
        let bits = self.bits();
        if self.is_link_local() && bits & INDEX != 0 { bits & !NAME } else { bits }
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.key() == other.key()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// IPv4 comes first.
impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.ip(), self.key()).cmp(&(other.ip(), other.key()))
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        })
    }
}

/// `10.0.0.1`, or `fe80::1%eth0`.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interface() {
            Some(interface) => formatter.pad(&format!("{}%{interface}", self.ip())),
            None => self.ip().fmt(formatter),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Endpoint {
    /// 0.0.0.0:0.
    pub const UNSPECIFIED: Self = Self { address: Address(MAPPED.to_be_bytes()), port: 0 };

    /// A port at an address.
    pub fn new(address: impl Into<Address>, port: u16) -> Self {
        Self { address: address.into(), port }
    }

    /// The address, with its interface if it needs one.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The address without its interface.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// The port; 0 for the peer of a listener.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Replaces the address and keeps the port.
    pub fn set_address(&mut self, address: Address) {
        self.address = address;
    }

    /// The same on this interface; only a link-local address is on one.
    #[must_use]
    pub fn on(self, interface: Option<Interface>) -> Self {
        Self { address: self.address.on(interface), ..self }
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
        self.address == other.address
    }
}

/// Same order as [`SocketAddr`]: IPv4 comes first.
impl Ord for Endpoint {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.address, self.port).cmp(&(other.address, other.port))
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

/// `10.0.0.1:80`, or `[fe80::1%eth0]:80`.
impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.interface() {
            Some(_) => formatter.pad(&format!("[{}]:{}", self.address, self.port)),
            None => SocketAddr::from(*self).fmt(formatter),
        }
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
    /// From addresses in network byte order (IPv4 as v4-mapped) and ports. Octets 4 to 7 of a link-local address are the
    /// index of its interface.
    #[must_use]
    pub fn new(laddr: [u8; 16], lport: u16, raddr: [u8; 16], rport: u16) -> Self {
        let end = |octets, port| Endpoint { address: Address(octets), port };
        Self { local: end(laddr, lport), remote: end(raddr, rport) }
    }

    /// The interface of the ends that are link-local: one connection is on one link.
    #[must_use]
    pub fn interface(&self) -> Option<Interface> {
        self.local.address.interface().or_else(|| self.remote.address.interface())
    }

    /// The same with the name of its interface, if that was learned.
    #[must_use]
    #[inline]
    pub fn named_in(self, netns: Option<u32>) -> Self {
        match (self.interface(), netns) {
            (Some(interface), Some(netns)) => {
                self.on(Some(Interface::of_namespace(netns, interface.index())))
            }
            _ => self,
        }
    }

    /// The same on this interface; only link-local addresses are on one.
    #[must_use]
    pub fn on(self, interface: Option<Interface>) -> Self {
        Self { local: self.local.on(interface), remote: self.remote.on(interface) }
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
    fn one_address_on_two_links_is_two() {
        let octets = |index: u8| {
            let mut octets = "fe80::1".parse::<Ipv6Addr>().unwrap().octets();
            octets[7] = index;
            octets
        };
        let on = |index| Endpoints::new(octets(index), 80, octets(index), 5000);
        let hash = |endpoints: &Endpoints| {
            use std::hash::BuildHasher as _;
            std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().hash_one(endpoints)
        };
        let (third, fourth, unknown) = (on(3), on(4), on(0));
        assert_ne!(third, fourth);
        assert!(third.local < fourth.local && !third.local.is_at(&fourth.local));
        assert_eq!(
            (third.local.to_string(), third.local.ip().to_string()),
            ("[fe80::1%3]:80".into(), "fe80::1".into())
        );
        assert_eq!(unknown.local.to_string(), "[fe80::1]:80");
        assert_eq!(third.on(None), unknown);
        assert_eq!(format!("{:>16}|", third.local), "  [fe80::1%3]:80|");
        // A name that is learned later makes it no other.
        Interface::learn(900_010, 3, "test-veth");
        let named = third.named_in(Some(900_010));
        assert_eq!((named, hash(&named)), (third, hash(&third)));
        assert_eq!(named.local.to_string(), "[fe80::1%test-veth]:80");
        assert_eq!(named.interface().unwrap().index(), 3);
        // Where only the names are known, they tell them apart.
        let called = |name: &str| unknown.on(name.parse().ok());
        assert_ne!(called("test-a"), called("test-b"));
        assert_eq!(called("test-a"), called("test-a"));
        // Other addresses are on no interface.
        let global =
            Endpoints { local: ([10, 0, 0, 1], 80).into(), remote: "[2001:db8::1]:5000".parse().unwrap() };
        assert_eq!(global.on(third.interface()), global);
        assert!(global.interface().is_none());
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
