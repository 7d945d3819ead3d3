//! Brackets the age of a socket that was in CLOSE_WAIT before tcptrace started. Pure.

use std::ops::RangeInclusive;

use crate::model::{activity::ActivityTimes, close_wait::Since, units::ms_in_ns};

/// Jiffies begin five minutes before zero: `INITIAL_JIFFIES` of include/linux/jiffies.h.
const JIFFIES_AHEAD_MS: u64 = 300_000;

/// The kernel's times are exact to a jiffy: 10 ms at most (CONFIG_HZ=100), at either end.
pub(crate) const JIFFY_NS: u64 = 10_000_000;

/// The earliest and latest time of the peer's FIN, from what the kernel answered at some time within `asked_within`
/// (CLOCK_MONOTONIC, nanoseconds).
pub(crate) fn bracket(asked_within: RangeInclusive<u64>, times: Option<ActivityTimes>) -> Since {
    let (asked_from, asked_until) = (*asked_within.start(), *asked_within.end());
    let Some(times) = times else { return Since::within(None, asked_until) };
    // Every segment after the SYN carries an acknowledgment, also the FIN. The last one arrived with the FIN or later,
    // because this side may still have sent data.
    let at_latest =
        (asked_until + JIFFY_NS).saturating_sub(ms_in_ns(times.last_ack_recv_ms)).min(asked_until);
    // The last data arrived before the FIN. Without any data the kernel counts from jiffies zero.
    let since_zero =
        (asked_until / 1_000_000).abs_diff(u64::from(times.last_data_recv_ms) + JIFFIES_AHEAD_MS);
    let at_earliest = asked_from.checked_sub(ms_in_ns(times.last_data_recv_ms) + 2 * JIFFY_NS);
    Since::within(at_earliest.filter(|_| since_zero >= 2_000), at_latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(sent: u32, received: u32, acknowledged: u32) -> ActivityTimes {
        ActivityTimes { last_data_sent_ms: sent, last_data_recv_ms: received, last_ack_recv_ms: acknowledged }
    }

    #[test]
    fn a_socket_is_as_old_as_between_its_last_acknowledgment_and_its_last_data() {
        let now = 5_000 * SECOND;
        let age = |times| bracket(now..=now, times).age_at(now);
        // Each bound is wider than the figure by what a jiffy can hide.
        assert_eq!(
            age(Some(times(9_000, 8_000, 3_000))),
            (3 * SECOND - JIFFY_NS, Some(8 * SECOND + 2 * JIFFY_NS))
        );
        assert_eq!(age(None), (0, None));
    }

    #[test]
    fn the_time_that_the_kernel_took_to_tell_widens_the_bounds() {
        let since = bracket(1_000 * SECOND..=1_001 * SECOND, Some(times(0, 8_000, 3_000)));
        let (least, most) = since.age_at(1_001 * SECOND);
        assert_eq!((least, most), (3 * SECOND - JIFFY_NS, Some(9 * SECOND + 2 * JIFFY_NS)));
    }

    #[test]
    fn without_any_data_there_is_no_upper_bound() {
        let most = |now, times| bracket(now..=now, times).age_at(now).1;
        // The kernel counts from jiffies zero, five minutes after boot …
        assert_eq!(most(5_000 * SECOND, Some(times(0, 4_700_010, 3_000))), None);
        // … or, in the first five minutes, from before it wrapped around.
        assert_eq!(most(200 * SECOND, Some(times(0, u32::MAX - 100_000, 3_000))), None);
    }
}
