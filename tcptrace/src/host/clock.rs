//! CLOCK_MONOTONIC, which the kernel side stamps records with, and its relation to wall-clock time.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The clocks of a host, or ones that a test sets.
#[derive(Clone, Debug)]
pub(crate) struct Clocks(ClockSource);

#[derive(Clone, Debug)]
enum ClockSource {
    Kernel,
    /// CLOCK_MONOTONIC as the test set it last; the machine booted in 1970 and never slept.
    #[cfg(test)]
    Scripted(std::sync::Arc<std::sync::atomic::AtomicU64>),
}

impl Clocks {
    /// The kernel's own.
    pub(crate) fn of_this_host() -> Self {
        Self(ClockSource::Kernel)
    }

    /// CLOCK_MONOTONIC now, in nanoseconds since some moment near boot; time asleep does not count.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        match &self.0 {
            ClockSource::Kernel => nanoseconds(ClockId::Monotonic),
            #[cfg(test)]
            ClockSource::Scripted(now_ns) => now_ns.load(std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// How CLOCK_MONOTONIC and wall-clock time relate now. Wall-clock time can be set and the machine can
    /// sleep, so a long session compares them again and again.
    pub(crate) fn wall(&self) -> WallClock {
        match &self.0 {
            ClockSource::Kernel => WallClock::compared(),
            #[cfg(test)]
            ClockSource::Scripted(_) => WallClock { offset_ns: 0 },
        }
    }

    /// When the machine was started, by the wall clock as it stands now.
    pub(crate) fn booted(&self) -> Timestamp {
        match &self.0 {
            ClockSource::Kernel => {
                let since = nanoseconds(ClockId::Boottime);
                let now = nanoseconds(ClockId::Realtime);
                Timestamp::from_nanosecond(i128::from(now) - i128::from(since))
                    .unwrap_or(Timestamp::UNIX_EPOCH)
            }
            #[cfg(test)]
            ClockSource::Scripted(_) => Timestamp::UNIX_EPOCH,
        }
    }

    /// A moment of CLOCK_MONOTONIC in the unit in which /proc states when a process started: clock ticks (a
    /// hundredth of a second) since boot, time asleep included.
    pub(crate) fn boot_ticks_at(&self, ktime_ns: u64) -> u64 {
        const TICK_NS: u64 = 10_000_000;
        let asleep_ns = match &self.0 {
            ClockSource::Kernel => nanoseconds(ClockId::Boottime).saturating_sub(self.monotonic_ns()),
            #[cfg(test)]
            ClockSource::Scripted(_) => 0,
        };
        ktime_ns.saturating_add(asleep_ns) / TICK_NS
    }
}

#[cfg(test)]
impl Clocks {
    /// Clocks that stand at this moment until they are moved; clones show the same time.
    pub(crate) fn scripted(now_ns: u64) -> Self {
        Self(ClockSource::Scripted(std::sync::Arc::new(now_ns.into())))
    }

    /// Moves scripted clocks on.
    pub(crate) fn advance(&self, by: std::time::Duration) {
        if let ClockSource::Scripted(now_ns) = &self.0 {
            let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            now_ns.fetch_add(by, std::sync::atomic::Ordering::Relaxed);
        }
    }
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
    /// Compares both of the kernel's clocks now.
    fn compared() -> Self {
        // The pair read in the shortest time is the most exact one.
        let offset_ns = (0..3)
            .map(|_| {
                let before = nanoseconds(ClockId::Monotonic);
                let wall = nanoseconds(ClockId::Realtime);
                let after = nanoseconds(ClockId::Monotonic);
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
        #[expect(clippy::cast_possible_truncation, reason = "less than a second")]
        let subsecond_ns = ns.rem_euclid(SECOND_NS) as i32;
        Timestamp::new(ns.div_euclid(SECOND_NS), subsecond_ns).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_now_is_now_on_the_wall() {
        let clocks = Clocks::of_this_host();
        let wall = clocks.wall().at(clocks.monotonic_ns());
        let distance = Timestamp::now().duration_since(wall).unsigned_abs();
        assert!(distance.as_millis() < 100, "{distance:?}");
    }

    #[test]
    fn scripted_clocks_stand_still_until_they_are_moved() {
        let clocks = Clocks::scripted(5_000_000_000);
        assert_eq!(clocks.boot_ticks_at(clocks.monotonic_ns()), 500);
        clocks.clone().advance(std::time::Duration::from_secs(2));
        assert_eq!(clocks.wall().at(clocks.monotonic_ns()).as_second(), 7);
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
