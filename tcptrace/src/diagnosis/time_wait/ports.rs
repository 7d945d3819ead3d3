//! The local ports that connect() can choose from in a network namespace. Pure.
//!
//! connect() takes ports from `ip_local_port_range`, in two passes: first those that are as even or odd as the first of
//! the range, then the others. It skips ports in `ip_local_reserved_ports` and every port bound in the namespace, whatever the address and
//! family (`__inet_hash_connect` of net/ipv4/inet_hashtables.c skips a bind bucket with `fastreuse >= 0`). A
//! port that only connect() has assigned can be assigned again for another destination. The range of a single
//! socket (IP_LOCAL_PORT_RANGE) is not visible here.

use std::ops::RangeInclusive;

use crate::model::tcp_settings::TcpSettings;

/// Bits of a word of the map.
const WORD: usize = u64::BITS as usize;

/// The ports of a namespace that connect() chooses from.
#[derive(Clone, Debug)]
pub(crate) struct PortBudget {
    /// `ip_local_port_range`.
    pub range: RangeInclusive<u16>,
    /// Reserved ports in the range.
    pub reserved: u32,
    /// Other ports in the range that are bound.
    pub bound: u32,
    /// The ports that are left.
    pub usable: u32,
    map: Box<[u64; (u16::MAX as usize + 1) / WORD]>,
}

impl PortBudget {
    /// The range without reserved ports; `None` when the range is unknown.
    pub(crate) fn new(settings: &TcpSettings) -> Option<Self> {
        let (first, last) = settings.ip_local_port_range?;
        let mut budget = Self {
            range: first..=last,
            reserved: 0,
            bound: 0,
            usable: 0,
            map: Box::new([0; (u16::MAX as usize + 1) / WORD]),
        };
        for port in first..=last {
            *budget.word(port) |= bit(port);
            budget.usable += 1;
        }
        for range in reserved(settings) {
            for port in range {
                budget.reserved += u32::from(budget.remove(port));
            }
        }
        Some(budget)
    }

    /// Marks a port as bound. Repeated calls count once.
    pub(crate) fn bind(&mut self, port: u16) {
        self.bound += u32::from(self.remove(port));
    }

    /// Whether this share of the ports that are not reserved is bound, or none is left at all.
    pub(crate) fn is_bound(&self, percent: u64) -> bool {
        let all = u64::from(self.bound) + u64::from(self.usable);
        self.usable == 0 || u64::from(self.bound) * 100 >= all * percent
    }

    /// Whether connect() can choose this port.
    pub(crate) fn contains(&self, port: u16) -> bool {
        self.map.get(usize::from(port) / WORD).is_some_and(|word| word & bit(port) != 0)
    }

    /// Returns whether the port was present.
    fn remove(&mut self, port: u16) -> bool {
        let was_there = self.contains(port);
        *self.word(port) &= !bit(port);
        self.usable -= u32::from(was_there);
        was_there
    }

    fn word(&mut self, port: u16) -> &mut u64 {
        // 65,536 ports in words of 64: the index is below 1,024 for every port.
        &mut self.map[usize::from(port) / WORD]
    }
}

/// Whether connect() may choose this port, as far as the settings go.
pub(crate) fn is_chosen(settings: &TcpSettings, port: u16) -> bool {
    let is_in_range =
        settings.ip_local_port_range.is_some_and(|(first, last)| (first..=last).contains(&port));
    is_in_range && !reserved(settings).any(|reserved| reserved.contains(&port))
}

/// The ranges of `ip_local_reserved_ports`.
fn reserved(settings: &TcpSettings) -> impl Iterator<Item = RangeInclusive<u16>> {
    settings.ip_local_reserved_ports.as_deref().unwrap_or_default().split(',').filter_map(ports)
}

fn bit(port: u16) -> u64 {
    1 << (usize::from(port) % WORD)
}

/// One port or a range of them, as the kernel writes it.
fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    fn budget(range: (u16, u16), reserved: &str) -> PortBudget {
        PortBudget::new(&TcpSettings {
            ip_local_port_range: Some(range),
            ip_local_reserved_ports: Some(reserved.to_owned()),
            ..TcpSettings::default()
        })
        .unwrap()
    }

    #[test]
    fn reserved_and_bound_ports_are_taken_off_the_range_once() {
        let mut budget = budget((20_000, 20_099), "80,20005,20010-20019,20015,65000");
        assert_eq!((budget.usable, budget.reserved), (89, 11));
        for port in [80, 20_000, 20_000, 20_010, 20_099] {
            budget.bind(port);
        }
        assert_eq!((budget.usable, budget.reserved, budget.bound), (87, 11, 2));
        assert!(budget.contains(20_001) && budget.contains(20_098));
        assert!(![19_999, 20_000, 20_005, 20_012, 20_099, 20_100].iter().any(|port| budget.contains(*port)));
    }

    #[test]
    fn connect_chooses_no_port_that_is_reserved_or_out_of_range() {
        let settings = TcpSettings {
            ip_local_port_range: Some((20_000, 20_099)),
            ip_local_reserved_ports: Some("80,20005,20010-20019".to_owned()),
            ..TcpSettings::default()
        };
        let of_settings = |port| is_chosen(&settings, port);
        assert!([20_000, 20_009, 20_020, 20_099].into_iter().all(of_settings));
        assert!(![80, 19_999, 20_005, 20_010, 20_019, 20_100].into_iter().any(of_settings));
        assert!(!is_chosen(&TcpSettings::default(), 40_000), "the range is not known");
    }

    #[test]
    fn the_whole_range_of_ports_fits() {
        let mut all = budget((0, u16::MAX), "");
        assert_eq!(all.usable, 65_536);
        all.bind(u16::MAX);
        assert_eq!(all.usable, 65_535);
        assert_eq!(budget((5, 4), "1-").usable, 0);
        assert!(PortBudget::new(&TcpSettings::default()).is_none());
    }
}
