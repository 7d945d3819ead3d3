//! The part of [`Criteria`] that the programs apply, in the fixed rules that are compiled into them: states, family,
//! ports, addresses and network namespaces. Owners are left to user space, and namespaces where there are very many.

use tcptrace_ebpf::config::{AddressRule, FILTER_RULES, Filter, PortRule, SIDE_LOCAL, SIDE_REMOTE};
use thiserror::Error;

use crate::model::criteria::{self, Criteria, Side};

/// How many ports, and how many address ranges, the programs hold.
pub(crate) const MAX_RULES: usize = FILTER_RULES;

/// The criteria have more rules of a kind than the programs hold.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("at most {MAX_RULES} {what} can be asked for at once, not {count}")]
pub(crate) struct TooManyRules {
    what: &'static str,
    count: usize,
}

/// Whether the programs can hold the criteria.
///
/// # Errors
/// When there are more rules of a kind than the programs hold.
pub(crate) fn check(criteria: &Criteria) -> Result<(), TooManyRules> {
    compile(criteria).map(|_| ())
}

/// The rules in the terms of the programs.
///
/// # Errors
/// When there are more rules of a kind than the programs hold.
pub(super) fn compile(criteria: &Criteria) -> Result<Filter, TooManyRules> {
    let Criteria { states, family, ports, addresses, netns, .. } = criteria;
    let count = |what, count| {
        u32::try_from(count).ok().filter(|_| count <= MAX_RULES).ok_or(TooManyRules { what, count })
    };
    let mut filter = Filter {
        states: states.bits(),
        family: family.map_or(0, |family| u32::from(family as u8)),
        port_count: count("ports", ports.len())?,
        address_count: count("addresses", addresses.len())?,
        ..Filter::default()
    };
    for (rule, (port, side)) in filter.ports.iter_mut().zip(ports) {
        *rule = PortRule { port: *port, sides: sides(*side) };
    }
    for (rule, range) in filter.addresses.iter_mut().zip(addresses) {
        let range = criteria::mapped(range);
        *rule =
            AddressRule { network: words(range.network().octets()), mask: words(range.netmask().octets()) };
    }
    if netns.len() <= MAX_RULES {
        filter.netns_count = u32::try_from(netns.len()).unwrap_or_default();
        for (rule, netns) in filter.netns.iter_mut().zip(netns) {
            *rule = *netns;
        }
    }
    Ok(filter)
}

fn sides(side: Side) -> u16 {
    match side {
        Side::Local => SIDE_LOCAL,
        Side::Remote => SIDE_REMOTE,
        Side::Either => SIDE_LOCAL | SIDE_REMOTE,
    }
}

/// An address as the programs compare it: two words in memory order.
fn words(octets: [u8; 16]) -> [u64; 2] {
    let (high, low) = octets.split_at(8);
    [high, low].map(|half| half.try_into().map_or(0, u64::from_ne_bytes))
}

#[cfg(test)]
mod tests;
