//! How the filter judges a transition: the rules that the programs run, which user space can run as well. Reads no
//! kernel memory.

use crate::{
    config::{AddressRule, FILTER_RULES, Filter, SIDE_LOCAL, SIDE_REMOTE},
    record::Sixteen,
};

/// Reads a field of a [`Filter`].
macro_rules! read {
    ($place:expr) => {{
        // SAFETY: `$place` lies in a `Filter` behind a shared reference, so it is initialised. Volatile, because the
        // compiler must not use the value that it compiled into a program: the loader replaces it.
        unsafe { core::ptr::read_volatile(&raw const $place) }
    }};
}

/// Addresses in network byte order (IPv4 v4-mapped), ports in host byte order.
pub struct Endpoints {
    /// Local address
    pub laddr: Sixteen,
    /// Remote address
    pub raddr: Sixteen,
    /// Local port
    pub lport: u16,
    /// Remote port
    pub rport: u16,
}

/// The second word of a v4-mapped address, without the IPv4 address.
const MAPPED: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
const MAPPED_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/// fe80::/16, of which RFC 4291 has fe80::/64 assigned.
const LINK_LOCAL: u64 = 0xfe80;

/// Whether an address is one of a link.
#[inline(always)]
#[must_use]
pub fn is_link_local([high, _]: Sixteen) -> bool {
    u64::from_be(high) >> 48 == LINK_LOCAL
}

/// A link-local address with the index of its interface in octets 4 to 7, which are 0 otherwise (RFC 4291, section
/// 2.5.6); any other address as it is.
#[inline(always)]
#[must_use]
pub fn on_interface(address: Sixteen, index: u32) -> Sixteen {
    let [high, low] = address;
    if is_link_local(address) {
        [(u64::from_be(high) & !0xffff_ffff | u64::from(index)).to_be(), low]
    } else {
        address
    }
}

/// Whether the states admit a transition from `old` to `new`.
#[inline(always)]
#[must_use]
pub fn admits_states(filter: &Filter, old: i32, new: i32) -> bool {
    ((1u32 << (old.cast_unsigned() & 31)) | (1u32 << (new.cast_unsigned() & 31))) & read!(filter.states) != 0
}

/// Whether the filter leaves out any socket.
#[inline(always)]
#[must_use]
pub fn restricts_sockets(filter: &Filter) -> bool {
    read!(filter.family) != 0
        || read!(filter.port_count) != 0
        || read!(filter.address_count) != 0
        || read!(filter.netns_count) != 0
}

/// Whether the filter admits a network namespace, by its inode number; 0, not known, only where it admits all.
#[inline(always)]
#[must_use]
pub fn admits_netns(filter: &Filter, netns: u32) -> bool {
    let count = read!(filter.netns_count) as usize;
    let mut is_admitted = count == 0;
    for index in 0..FILTER_RULES {
        is_admitted |= index < count && read!(filter.netns[index]) == netns;
    }
    is_admitted
}

/// Whether the rules on family, ports and addresses admit a connection.
#[inline(always)]
#[must_use]
pub fn admits_endpoints(filter: &Filter, endpoints: &Endpoints) -> bool {
    admits(filter, endpoints, false)
}

/// As [`admits_endpoints`], of a socket that begins to connect: the kernel may choose any local port for one that has
/// none yet (`tcp_v4_connect` of net/ipv4/tcp_ipv4.c sets SYN_SENT first).
#[inline(always)]
#[must_use]
pub fn may_admit_connecting(filter: &Filter, endpoints: &Endpoints) -> bool {
    admits(filter, endpoints, endpoints.lport == 0)
}

#[inline(always)]
fn admits(filter: &Filter, endpoints: &Endpoints, has_any_local_port: bool) -> bool {
    let family = read!(filter.family);
    if family != 0 {
        let [high, low] = endpoints.raddr;
        let is_mapped = high == 0 && low & MAPPED_MASK == MAPPED;
        if (family == 4) != is_mapped {
            return false;
        }
    }
    let port_count = read!(filter.port_count) as usize;
    if port_count > 0 {
        // Rules for the same sides are alternatives: one bit for each kind that has rules, and for each
        // kind that has a rule that matches.
        let (mut kinds, mut matching) = (0u32, 0u32);
        for index in 0..FILTER_RULES {
            let rule = read!(filter.ports[index]);
            if index < port_count {
                let kind = 1 << (rule.sides & (SIDE_LOCAL | SIDE_REMOTE));
                kinds |= kind;
                if (rule.sides & SIDE_LOCAL != 0 && (rule.port == endpoints.lport || has_any_local_port))
                    || (rule.sides & SIDE_REMOTE != 0 && rule.port == endpoints.rport)
                {
                    matching |= kind;
                }
            }
        }
        if kinds != matching {
            return false;
        }
    }
    let address_count = read!(filter.address_count) as usize;
    if address_count > 0 {
        let mut found = false;
        for index in 0..FILTER_RULES {
            let rule = read!(filter.addresses[index]);
            if index < address_count
                && (in_network(endpoints.laddr, &rule) || in_network(endpoints.raddr, &rule))
            {
                found = true;
            }
        }
        if !found {
            return false;
        }
    }
    true
}

#[inline(always)]
fn in_network([high, low]: Sixteen, rule: &AddressRule) -> bool {
    high & rule.mask[0] == rule.network[0] && low & rule.mask[1] == rule.network[1]
}
