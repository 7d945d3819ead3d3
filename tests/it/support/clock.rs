//! Converts between the two clocks: records carry wall-clock time, the truth is in CLOCK_MONOTONIC.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The error that converting adds where nobody steers the wall clock: both sides compare the clocks within microseconds.
const STEADY_NS: u64 = 5_000_000;

/// How long a test may take from a moment that a record tells until it compares it.
const REMEMBERED_NS: u64 = 120_000_000_000;

/// How far apart the two clocks were, in nanoseconds, and when.
type Offsets = VecDeque<(u64, i128)>;

static WATCHED: LazyLock<Mutex<Offsets>> = LazyLock::new(|| {
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_millis(100));
            note_offset(&mut watched());
        }
    });
    Mutex::default()
});

fn watched() -> MutexGuard<'static, Offsets> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to watch how far apart the clocks are. Somebody may set the wall clock between the moment when the tool writes
/// a time and the moment when the test compares it.
pub(crate) fn watch() {
    note_offset(&mut watched());
}

fn note_offset(offsets: &mut Offsets) {
    let now = monotonic_ns();
    offsets.push_back((now, offset()));
    while offsets.front().is_some_and(|(at, _)| now - at > REMEMBERED_NS) {
        offsets.pop_front();
    }
}

/// The error that converting between the clocks may add.
pub(crate) fn conversion_ns() -> u64 {
    STEADY_NS + steered_ns()
}

/// How far the wall clock was steered in the last [`REMEMBERED_NS`].
pub(crate) fn steered_ns() -> u64 {
    let now = offset();
    let (least, most) = watched()
        .iter()
        .fold((now, now), |(least, most), &(_, offset)| (least.min(offset), most.max(offset)));
    u64::try_from(most - least).unwrap()
}

pub(crate) fn monotonic_ns() -> u64 {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// How far wall-clock time is ahead of CLOCK_MONOTONIC, in nanoseconds.
fn offset() -> i128 {
    (0..5)
        .map(|_| {
            let before = monotonic_ns();
            let wall = read(ClockId::Realtime);
            let after = monotonic_ns();
            (after - before, i128::from(wall) - i128::from(before + (after - before) / 2))
        })
        .min_by_key(|(width, _)| *width)
        .map(|(_, offset)| offset)
        .unwrap()
}

/// CLOCK_MONOTONIC at a wall-clock time in RFC 3339, to within [`conversion_ns`].
pub(crate) fn monotonic_of(time: &str) -> u64 {
    let wall = time.parse::<Timestamp>().unwrap_or_else(|error| panic!("{time:?} is no time: {error}"));
    u64::try_from(wall.as_nanosecond() - offset())
        .unwrap_or_else(|_| panic!("{time} is before the last boot"))
}

/// Where a record's time, converted to CLOCK_MONOTONIC, may lie if what it tells of happened between these two moments.
pub(crate) fn bracket(before_ns: u64, after_ns: u64) -> RangeInclusive<u64> {
    let error = conversion_ns();
    before_ns.saturating_sub(error)..=after_ns + error
}
