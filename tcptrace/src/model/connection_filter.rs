//! What the kernel side is asked to leave out, in the terms of the command line, and its translation
//! into the fixed rules that are compiled into the programs.

use std::net::{IpAddr, Ipv6Addr};

use tcptrace_ebpf::config::{AddressRule, FILTER_RULES, Filter, PortRule, SIDE_LOCAL, SIDE_REMOTE};

use thiserror::Error;

use super::{endpoints::Endpoints, state::StateSet};

/// How many ports, and how many address ranges, a filter can name.
pub(crate) const MAX_RULES: usize = FILTER_RULES;

/// An address and a prefix length, as in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// Any address of the range.
    pub address: IpAddr,
    /// 0 to 32 for IPv4, 0 to 128 for IPv6.
    pub prefix: u8,
}

impl AddressRange {
    /// Whether the address lies in the range.
    pub fn contains(self, address: IpAddr) -> bool {
        let rule = self.rule();
        let [high, low] = Self { address, prefix: 128 }.rule().network;
        high & rule.mask[0] == rule.network[0] && low & rule.mask[1] == rule.network[1]
    }

    fn rule(self) -> AddressRule {
        let (address, prefix) = match self.address {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), self.prefix.saturating_add(96)),
            IpAddr::V6(address) => (address, self.prefix),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
        let words = |value: u128| {
            let bytes = value.to_be_bytes();
            let (high, low) = bytes.split_at(8);
            [high, low].map(|half| half.try_into().map_or(0, u64::from_ne_bytes))
        };
        AddressRule { network: words(Ipv6Addr::to_bits(address) & mask), mask: words(mask) }
    }
}

/// The filter has more rules of a kind than the programs hold.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("at most {MAX_RULES} {what} can be asked for at once, not {count}")]
pub struct TooManyRules {
    what: &'static str,
    count: usize,
}

/// Which transitions the kernel side is to report. Rules of a kind are alternatives, the kinds have to
/// hold together; nothing said is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFilter {
    /// Transitions out of or into these states.
    pub states: StateSet,
    /// 4, 6, or 0 for both.
    pub family: u8,
    /// Ports with the sides they may be on, those on other sides being of another kind; at most [`MAX_RULES`].
    pub ports: Vec<PortRule>,
    /// Ranges that either address may lie in; at most [`MAX_RULES`].
    pub addresses: Vec<AddressRange>,
}

impl KernelFilter {
    /// Whether a connection passes all rules but those on states, as the programs would have it.
    pub fn admits(&self, endpoints: &Endpoints) -> bool {
        let Endpoints { local, remote } = endpoints;
        let port_matches = |rule: &PortRule| {
            (rule.sides & SIDE_LOCAL != 0 && rule.port == local.port())
                || (rule.sides & SIDE_REMOTE != 0 && rule.port == remote.port())
        };
        let some_of_its_kind_matches =
            |rule: &PortRule| self.ports.iter().filter(|other| other.sides == rule.sides).any(port_matches);
        (self.family == 0 || self.family == endpoints.family())
            && self.ports.iter().all(some_of_its_kind_matches)
            && (self.addresses.is_empty()
                || self
                    .addresses
                    .iter()
                    .any(|range| range.contains(local.ip()) || range.contains(remote.ip())))
    }

    /// The rules in the terms of the programs.
    ///
    /// # Errors
    /// When there are more rules of a kind than the programs hold.
    pub fn rules(&self) -> Result<Filter, TooManyRules> {
        let count = |what, count| {
            u32::try_from(count).ok().filter(|_| count <= MAX_RULES).ok_or(TooManyRules { what, count })
        };
        let mut filter = Filter {
            states: self.states.bits(),
            family: u32::from(self.family),
            address_count: count("addresses", self.addresses.len())?,
            port_count: count("ports", self.ports.len())?,
            ..Filter::default()
        };
        for (slot, port) in filter.ports.iter_mut().zip(&self.ports) {
            *slot = *port;
        }
        for (slot, range) in filter.addresses.iter_mut().zip(&self.addresses) {
            *slot = range.rule();
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(range: &str, prefix: u8, address: &str) -> bool {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        AddressRange { address: parse(range), prefix }.contains(parse(address))
    }

    #[test]
    fn ports_of_a_kind_are_alternatives_and_the_kinds_hold_together() {
        let rule = |port, sides| PortRule { port, sides };
        let admits = |ports: &[PortRule]| {
            let local = ([10, 0, 0, 1], 80).into();
            let endpoints = Endpoints { local, remote: ([10, 0, 0, 2], 9000).into() };
            KernelFilter { ports: ports.to_vec(), ..KernelFilter::default() }.admits(&endpoints)
        };
        assert!(admits(&[rule(80, SIDE_LOCAL), rule(81, SIDE_LOCAL)]));
        assert!(admits(&[rule(80, SIDE_LOCAL), rule(9000, SIDE_REMOTE)]));
        assert!(!admits(&[rule(80, SIDE_LOCAL), rule(9001, SIDE_REMOTE)]));
        assert!(!admits(&[rule(9000, SIDE_LOCAL)]));
        assert!(admits(&[rule(9000, SIDE_LOCAL | SIDE_REMOTE)]));
        assert!(!admits(&[rule(9000, SIDE_LOCAL | SIDE_REMOTE), rule(81, SIDE_LOCAL)]));
    }

    #[test]
    fn more_rules_than_fit_are_an_error() {
        let rule = PortRule { port: 1, sides: SIDE_LOCAL };
        let rules = |count| KernelFilter { ports: vec![rule; count], ..KernelFilter::default() }.rules();
        assert_eq!(rules(MAX_RULES).map(|filter| filter.port_count), Ok(MAX_RULES as u32));
        assert_eq!(rules(MAX_RULES + 1), Err(TooManyRules { what: "ports", count: MAX_RULES + 1 }));
    }

    #[test]
    fn an_ipv4_range_matches_its_addresses_and_no_others() {
        assert!(matches("10.1.2.3", 8, "10.200.0.1"));
        assert!(!matches("10.1.2.3", 8, "11.0.0.1"));
        assert!(matches("0.0.0.0", 0, "203.0.113.9"));
        assert!(!matches("0.0.0.0", 0, "2001:db8::1"));
        assert!(matches("192.0.2.1", 32, "192.0.2.1"));
        assert!(!matches("192.0.2.1", 32, "192.0.2.2"));
    }

    #[test]
    fn an_ipv6_range_matches_across_the_word_boundary() {
        assert!(matches("2001:db8::", 32, "2001:db8:ffff::1"));
        assert!(!matches("2001:db8::", 33, "2001:db8:ffff::1"));
        assert!(matches("2001:db8:0:1::", 72, "2001:db8:0:1:00ff::"));
        assert!(matches("::", 0, "203.0.113.9"));
    }
}
