//! CLOCK_MONOTONIC, which the kernel side stamps records with, and its relation to wall-clock time.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC now, in nanoseconds since some moment near boot; time asleep does not count.
pub(crate) fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// When the machine was started, by the wall clock as it stands now.
pub(crate) fn booted() -> Timestamp {
    let since = nanoseconds(ClockId::Boottime);
    let now = nanoseconds(ClockId::Realtime);
    Timestamp::from_nanosecond(i128::from(now) - i128::from(since)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A moment of CLOCK_MONOTONIC in the unit in which /proc tells when a process started: clock ticks (a
/// hundredth of a second) since boot, time asleep included.
pub(crate) fn boot_ticks_at(ktime_ns: u64) -> u64 {
    const TICK_NS: u64 = 10_000_000;
    let asleep = nanoseconds(ClockId::Boottime).saturating_sub(monotonic_ns());
    ktime_ns.saturating_add(asleep) / TICK_NS
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Converts monotonic time to wall-clock time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WallClock {
    /// Wall-clock time at monotonic zero, in nanoseconds since 1970: enough until the year 2262.
    offset_ns: i64,
}

impl WallClock {
    /// Compares both clocks now. Wall-clock time can be set and the machine can sleep, so a long
    /// session compares them again and again.
    pub(crate) fn now() -> Self {
        // The pair read in the shortest time is the most exact one.
        let offset_ns = (0..3)
            .map(|_| {
                let before = monotonic_ns();
                let wall = nanoseconds(ClockId::Realtime);
                let after = monotonic_ns();
                let middle = before + after.saturating_sub(before) / 2;
                (after.saturating_sub(before), wall.wrapping_sub(middle).cast_signed())
            })
            .min_by_key(|(width, _)| *width)
            .map_or(0, |(_, offset)| offset);
        Self { offset_ns }
    }

    /// Wall-clock time of a moment in monotonic time.
    pub(crate) fn at(self, ktime_ns: u64) -> Timestamp {
        const SECOND_NS: i64 = 1_000_000_000;
        let ns = self.offset_ns.saturating_add_unsigned(ktime_ns);
        Timestamp::new(ns.div_euclid(SECOND_NS), ns.rem_euclid(SECOND_NS) as i32)
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_now_is_now_on_the_wall() {
        let wall = WallClock::now().at(monotonic_ns());
        let distance = Timestamp::now().duration_since(wall).unsigned_abs();
        assert!(distance.as_millis() < 100, "{distance:?}");
    }

    #[test]
    fn wall_clock_time_is_exact_to_the_nanosecond_on_both_sides_of_1970() {
        for (offset_ns, ktime_ns) in
            [(1_790_000_000_123_456_789, 987_654_321), (-5, 3), (-1_000_000_001, 1), (0, 0)]
        {
            let expected = Timestamp::from_nanosecond(i128::from(offset_ns) + i128::from(ktime_ns));
            assert_eq!(WallClock { offset_ns }.at(ktime_ns), expected.unwrap_or_default());
        }
    }
}
