//! Forecasts when a destination runs out of local ports. Pure.
//!
//! The port of every minisocket is freed at a known time (each has a timer), and new ones stay in use for a known time. So
//! the forecast simulates instead of extrapolating, up to the time from which those ports are freed as fast as they are
//! taken. From then on only connections that stay open take more.

/// The kernel's `TCP_TIMEWAIT_LEN` of include/net/tcp.h, in milliseconds; no setting changes it.
pub(crate) const TIME_WAIT_MS: u32 = 60_000;

/// Timers a minute away fire in groups, up to two to five seconds late depending on HZ (the levels of
/// kernel/time/timer.c). At 250 Hz they are one second late on average.
pub(crate) const LATENESS_MS: u32 = 1_000;

/// The ports of one destination.
#[derive(Clone, Debug, Default)]
pub(crate) struct DestinationPorts {
    /// Ports that connect() can choose from.
    pub total: u64,
    /// Ports in use that no timer frees.
    pub held: u64,
    /// For each other port in use, the milliseconds until it is free; in any order.
    pub leaving_ms: Vec<u32>,
    /// How long a port taken from now on stays in use, in milliseconds.
    pub lifetime_ms: u32,
}

impl DestinationPorts {
    /// Ports in use.
    pub(crate) fn used(&self) -> u64 {
        self.held + self.leaving_ms.len() as u64
    }

    /// The rate of connections per second that the ports sustain forever.
    pub(crate) fn most_per_second(&self) -> f64 {
        self.total.saturating_sub(self.held) as f64 * 1e3 / f64::from(self.lifetime_ms.max(1))
    }

    /// Nanoseconds until no port is left at this rate of connections that are closed, and of connections that stay open;
    /// `None` if the ports last forever, or for a year.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and within a year"
    )]
    pub(crate) fn dry_in_ns(&mut self, per_second: f64, held_per_second: f64) -> Option<u64> {
        const YEAR_MS: f64 = 31_536_000_000.0;
        if self.used() >= self.total {
            return Some(0);
        }
        if per_second + held_per_second <= 0.0 {
            return None;
        }
        self.leaving_ms.sort_unstable();
        let per_ms = (per_second + held_per_second) / 1e3;
        let mut free = (self.total - self.used()) as f64;
        let lifetime = f64::from(self.lifetime_ms);
        let leaving = self.leaving_ms.iter().map(|left| f64::from(*left));
        let mut now = 0.0;
        // Between two timers the number of free ports only falls.
        for next in leaving.take_while(|left| *left < lifetime).chain([lifetime]) {
            let dry = now + free / per_ms;
            if dry <= next && dry < lifetime {
                return Some((dry * 1e6) as u64);
            }
            free += 1.0 - (next - now) * per_ms;
            now = next;
        }
        // The last port that was added is that of the lifetime's end, where none is freed.
        let dry = lifetime + (free - 1.0).max(0.0) * 1e3 / held_per_second;
        (held_per_second > 0.0 && dry < YEAR_MS).then_some((dry * 1e6) as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dry_in_s(total: u64, held: u64, leaving_ms: Vec<u32>, per_second: f64) -> Option<f64> {
        let mut ports = DestinationPorts { total, held, leaving_ms, lifetime_ms: 60_000 };
        ports.dry_in_ns(per_second, 0.0).map(|nanoseconds| nanoseconds as f64 / 1e9)
    }

    fn is_about(actual: Option<f64>, expected: f64) {
        assert!(actual.is_some_and(|actual| (actual - expected).abs() < 0.05), "{actual:?}, not {expected}");
    }

    #[test]
    fn an_empty_table_lasts_for_its_ports_by_the_rate() {
        is_about(dry_in_s(500, 0, Vec::new(), 50.0), 10.0);
        is_about(dry_in_s(500, 100, Vec::new(), 50.0), 8.0);
        assert_eq!(dry_in_s(500, 0, Vec::new(), 0.0), None);
        assert_eq!(dry_in_s(500, 500, Vec::new(), 0.0), Some(0.0));
    }

    #[test]
    fn a_rate_that_a_minute_can_bear_lasts_for_ever() {
        assert_eq!(dry_in_s(500, 0, Vec::new(), 8.3), None);
        is_about(dry_in_s(500, 0, Vec::new(), 8.4), 59.5);
        // The steady state: as much leaves as comes.
        let steady = (0..480).map(|nth| nth * 125).collect();
        assert_eq!(dry_in_s(500, 0, steady, 8.0), None);
    }

    #[test]
    fn what_leaves_in_time_makes_room() {
        // 400 leave after 5 s, 100 are free: at 50 a second all are gone before.
        is_about(dry_in_s(500, 0, vec![5_000; 400], 50.0), 2.0);
        // They leave in time for 10 a second, which is more than the table can bear in the long run.
        is_about(dry_in_s(500, 0, vec![5_000; 400], 10.0), 50.0);
    }

    #[test]
    fn connections_that_stay_take_ports_for_good() {
        let dry_in_s = |held, leaving_ms: Vec<u32>, per_second, held_per_second| {
            let mut ports = DestinationPorts { total: 1_000, held, leaving_ms, lifetime_ms: 60_000 };
            ports.dry_in_ns(per_second, held_per_second).map(|nanoseconds| nanoseconds as f64 / 1e9)
        };
        is_about(dry_in_s(100, Vec::new(), 0.0, 100.0), 9.0);
        // A minute and more: one a second.
        is_about(dry_in_s(100, Vec::new(), 0.0, 1.0), 900.0);
        // Those that close and leave take 600 for a minute, then no more.
        is_about(dry_in_s(100, Vec::new(), 10.0, 0.1), 60.0 + 294.0 / 0.1);
        // What leaves makes room.
        is_about(dry_in_s(0, vec![30_000; 500], 0.0, 2.0), 500.0);
        assert_eq!(dry_in_s(999, Vec::new(), 0.0, 0.0), None);
        assert_eq!(dry_in_s(0, Vec::new(), 0.0, 1e-6), None, "not within a year");
        // A pool that closes its connections hands their ports over to TIME_WAIT.
        assert_eq!(dry_in_s(900, Vec::new(), 50.0, -50.0), None);
    }

    #[test]
    fn the_rate_that_can_be_borne_is_the_ports_by_the_lifetime() {
        let ports = DestinationPorts { total: 28_232, held: 32, leaving_ms: Vec::new(), lifetime_ms: 60_000 };
        assert!((ports.most_per_second() - 470.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn it_agrees_with_playing_it_through_millisecond_by_millisecond(
            total in 1u64..300,
            leaving in proptest::collection::vec(0u32..2_000, 0..200),
            per_second in 1u32..400,
        ) {
            let lifetime_ms = 2_000;
            let mut ports = DestinationPorts { total, held: 0, leaving_ms: leaving.clone(), lifetime_ms };
            let forecast = ports.dry_in_ns(f64::from(per_second), 0.0);
            let lacking = |now: &u32| {
                let left = leaving.iter().filter(|left| **left >= *now).count() as f64;
                left + f64::from(*now) * f64::from(per_second) / 1e3 - total as f64
            };
            let played = (0..lifetime_ms).find(|now| lacking(now) >= 0.0);
            // The last port is taken in the very moment in which others are freed: either answer is right.
            prop_assume!(played.is_none_or(|now| now == 0 || lacking(&now) > 1e-6 || !leaving.contains(&now)));
            match (forecast, played) {
                (Some(forecast), Some(played)) => {
                    prop_assert!((forecast / 1_000_000).abs_diff(u64::from(played)) <= 2, "{forecast} {played}");
                }
                // At the very end they may differ by the last millisecond.
                (Some(forecast), None) => prop_assert!(forecast >= u64::from(lifetime_ms - 2) * 1_000_000),
                (None, Some(played)) => prop_assert!(played >= lifetime_ms - 2),
                (None, None) => {}
            }
        }
    }
}
