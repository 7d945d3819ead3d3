//! Converts between the two clocks: records carry wall-clock time, the truth is in CLOCK_MONOTONIC.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The error that converting between the clocks may add. Both sides read them within microseconds, but the wall clock
/// is steered in between.
pub(crate) const CONVERSION_NS: u64 = 5_000_000;

pub(crate) fn monotonic_ns() -> u64 {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// CLOCK_MONOTONIC at a wall-clock time in RFC 3339, to within [`CONVERSION_NS`].
pub(crate) fn monotonic_of(time: &str) -> u64 {
    let wall = time.parse::<Timestamp>().unwrap_or_else(|error| panic!("{time:?} is no time: {error}"));
    let offset = (0..5)
        .map(|_| {
            let before = monotonic_ns();
            let wall = read(ClockId::Realtime);
            let after = monotonic_ns();
            (after - before, i128::from(wall) - i128::from(before + (after - before) / 2))
        })
        .min_by_key(|(width, _)| *width)
        .map(|(_, offset)| offset)
        .unwrap();
    u64::try_from(wall.as_nanosecond() - offset).unwrap_or_else(|_| panic!("{time} is before the last boot"))
}
