//! The kernel's monotonic clock, which the kernel side stamps records with, and its relation to wall-clock time.
//!
//! In a time namespace (time_namespaces(7)) this process's CLOCK_MONOTONIC and CLOCK_BOOTTIME are shifted, but
//! `bpf_ktime_get_ns` is not. Everything here is on the kernel's clock.

use std::{fs, path::Path};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The clocks of a host, or ones that a test sets.
#[derive(Clone, Debug)]
pub(crate) struct Clocks(ClockSource);

#[derive(Clone, Debug)]
enum ClockSource {
    Kernel(Offsets),
    /// CLOCK_MONOTONIC as the test set it last; the machine booted in 1970 and never slept.
    #[cfg(test)]
    Scripted(std::sync::Arc<std::sync::atomic::AtomicU64>),
}

impl Clocks {
    /// The kernel's own. Reads in `proc` how far this process's clocks are off.
    pub(crate) fn of_this_host(proc: &Path) -> Self {
        // A kernel without time namespaces has no such file.
        let offsets = fs::read_to_string(proc.join("self/timens_offsets")).unwrap_or_default();
        Self(ClockSource::Kernel(Offsets::parse(&offsets)))
    }

    /// The kernel's CLOCK_MONOTONIC now, in nanoseconds since some moment near boot; time asleep does not count.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        match &self.0 {
            ClockSource::Kernel(offsets) => offsets.monotonic_ns(),
            #[cfg(test)]
            ClockSource::Scripted(now_ns) => now_ns.load(std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// How far this process's CLOCK_MONOTONIC is ahead of the kernel's: not at all outside of a time namespace.
    pub(crate) fn shift_ns(&self) -> i64 {
        match &self.0 {
            ClockSource::Kernel(offsets) => offsets.monotonic_ns,
            #[cfg(test)]
            ClockSource::Scripted(_) => 0,
        }
    }

    /// How CLOCK_MONOTONIC and wall-clock time relate now. Wall-clock time can be set and the machine can
    /// sleep, so a long session compares them again and again.
    pub(crate) fn wall(&self) -> WallClock {
        match &self.0 {
            ClockSource::Kernel(offsets) => WallClock::compared(*offsets),
            #[cfg(test)]
            ClockSource::Scripted(_) => WallClock { offset_ns: 0 },
        }
    }

    /// When the machine was started, by the wall clock as it stands now and by what /proc counts from: in a time
    /// namespace, the zero of its boot-time clock.
    pub(crate) fn booted(&self) -> Timestamp {
        match &self.0 {
            ClockSource::Kernel(_) => {
                let since = nanoseconds(ClockId::Boottime);
                let now = nanoseconds(ClockId::Realtime);
                Timestamp::from_nanosecond(i128::from(now) - i128::from(since))
                    .unwrap_or(Timestamp::UNIX_EPOCH)
            }
            #[cfg(test)]
            ClockSource::Scripted(_) => Timestamp::UNIX_EPOCH,
        }
    }

    /// A moment of the kernel's CLOCK_MONOTONIC in the unit in which /proc states when a process started: clock ticks
    /// (a hundredth of a second) since boot, time asleep included, shifted as this process's CLOCK_BOOTTIME is
    /// (`do_task_stat` of fs/proc/array.c). Negative before the zero of a time namespace.
    pub(crate) fn boot_ticks_at(&self, ktime_ns: u64) -> i64 {
        let ahead_ns = match &self.0 {
            ClockSource::Kernel(offsets) => {
                nanoseconds(ClockId::Boottime).wrapping_sub(offsets.monotonic_ns()).cast_signed()
            }
            #[cfg(test)]
            ClockSource::Scripted(_) => 0,
        };
        ktime_ns.cast_signed().saturating_add(ahead_ns).div_euclid(TICK_NS)
    }
}

/// A clock tick of /proc in nanoseconds.
const TICK_NS: i64 = 10_000_000;

/// The start of a process as `/proc/PID/stat` states it, in clock ticks. The kernel writes a start before the zero of
/// this time namespace as an unsigned number of nanoseconds that wrapped around.
pub(crate) fn start_ticks(stated: u64) -> i64 {
    stated.wrapping_mul(TICK_NS.cast_unsigned()).cast_signed().div_euclid(TICK_NS)
}

/// How far this process's clocks are ahead of the kernel's, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offsets {
    monotonic_ns: i64,
}

impl Offsets {
    /// From `/proc/self/timens_offsets`: lines of a clock's name, seconds, and nanoseconds.
    fn parse(text: &str) -> Self {
        let monotonic_ns = text.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            // Linux 5.6 to 5.7 wrote the number of the clock (CLOCK_MONOTONIC is 1) instead of its name.
            words.next().filter(|clock| matches!(*clock, "monotonic" | "1"))?;
            let (seconds, ns) = (words.next()?.parse::<i64>().ok()?, words.next()?.parse::<i64>().ok()?);
            seconds.checked_mul(1_000_000_000)?.checked_add(ns)
        });
        Self { monotonic_ns: monotonic_ns.unwrap_or(0) }
    }

    /// The kernel's CLOCK_MONOTONIC now.
    fn monotonic_ns(self) -> u64 {
        nanoseconds(ClockId::Monotonic).wrapping_add_signed(self.monotonic_ns.wrapping_neg())
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
            let by = crate::model::units::in_nanoseconds(by);
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
    fn compared(offsets: Offsets) -> Self {
        // The pair read in the shortest time is the most exact one.
        let offset_ns = (0..3)
            .map(|_| {
                let before = offsets.monotonic_ns();
                let wall = nanoseconds(ClockId::Realtime);
                let after = offsets.monotonic_ns();
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
        let clocks = Clocks::of_this_host(Path::new("/proc"));
        let wall = clocks.wall().at(clocks.monotonic_ns());
        let distance = Timestamp::now().duration_since(wall).unsigned_abs();
        assert!(distance.as_millis() < 100, "{distance:?}");
    }

    #[test]
    fn the_shift_of_a_time_namespace_is_taken_off() {
        let offset = |text| Offsets::parse(text).monotonic_ns;
        assert_eq!(
            offset("monotonic       86400         0\nboottime        86400         0\n"),
            86_400_000_000_000
        );
        assert_eq!(
            offset("monotonic        -900 500000000\nboottime            0         0\n"),
            -899_500_000_000
        );
        for nothing in ["", "monotonic", "monotonic x 0", "boottime 5 0", "monotonic 9223372036854775807 0"] {
            assert_eq!(offset(nothing), 0, "{nothing}");
        }
        let ahead = Clocks(ClockSource::Kernel(Offsets { monotonic_ns: 3_000_000_000 }));
        let distance = Clocks(ClockSource::Kernel(Offsets::default())).monotonic_ns() - ahead.monotonic_ns();
        assert!(distance.abs_diff(3_000_000_000) < 100_000_000, "{distance}");
    }

    #[test]
    fn a_start_before_the_zero_of_a_time_namespace_is_negative() {
        assert_eq!(start_ticks(12_345), 12_345);
        // -5 s, as `nsec_to_clock_t` writes it.
        let stated = (-5_000_000_000_i64).cast_unsigned() / 10_000_000;
        assert!((-501..=-500).contains(&start_ticks(stated)), "{}", start_ticks(stated));
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
