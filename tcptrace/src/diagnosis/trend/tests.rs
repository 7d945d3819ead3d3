//! Tests of rates and forecasts, against levels whose truth is known.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// A level that is sampled each second.
fn sampled(seconds: u64, level_at: impl Fn(u64) -> u64) -> Level {
    let mut level = Level::default();
    (0..=seconds).for_each(|second| level.note(second * SECOND, level_at(second)));
    level
}

/// Change a minute, and rise a minute, after so many seconds.
fn rates(seconds: u64, level_at: impl Fn(u64) -> u64) -> (Option<f64>, Option<f64>) {
    let level = sampled(seconds, level_at);
    let now = seconds * SECOND;
    (level.per_minute(now), level.rise_per_second(now).map(|rate| rate * 60.0))
}

fn is_about(rates: (Option<f64>, Option<f64>), expected: f64) {
    for rate in [rates.0, rates.1] {
        let rate = rate.unwrap_or(f64::NAN);
        assert!((rate - expected).abs() <= expected.abs() * 0.1 + 0.1, "{rates:?}, expected {expected}");
    }
}

#[test]
fn a_steady_leak_has_its_rate_whatever_it_is() {
    is_about(rates(60, |second| second * 5), 300.0);
    is_about(rates(3_600, |second| second / 40), 1.5);
    is_about(rates(36_000, |second| second / 900), 0.067);
    // In bursts that come again: five in five seconds, each minute.
    is_about(rates(900, |second| second / 60 * 5 + (second % 60).min(5)), 5.0);
}

#[test]
fn what_becomes_less_or_stays_does_not_rise() {
    assert_eq!(rates(60, |_| 7), (Some(0.0), None));
    let (change, rise) = rates(60, |second| 1_000 - second * 2);
    assert!(
        change.is_some_and(|change| (change + 120.0).abs() < 2.0) && rise.is_none(),
        "{change:?} {rise:?}"
    );
}

#[test]
fn a_burst_that_is_over_is_no_trend_however_long_it_was() {
    for (burst, since) in [(1, 10), (5, 4), (20, 4), (300, 4), (3_000, 4)] {
        let level = |second: u64| 50 + second.min(burst) * 40;
        assert_eq!(rates(burst + since, level), (Some(0.0), None), "{burst} s, {since} s ago");
    }
    // While it goes on, it is what happens now.
    is_about(rates(20, |second| second * 40), 2_400.0);
}

#[test]
fn a_burst_does_not_change_the_rate_of_a_leak() {
    is_about(rates(1_200, |second| second / 10 + if second > 1_000 { 5_000 } else { 0 }), 6.0);
}

#[test]
fn fewer_than_three_steps_say_nothing() {
    for steps in 1..=2_u64 {
        let (change, rise) = rates(30, |second| 100 * (second / 8).min(steps));
        assert_eq!((change.unwrap_or_default(), rise), (0.0, None), "{steps} steps");
    }
    assert!(rates(90, |second| 100 * (second / 24)).1.is_some(), "three steps");
    assert_eq!(rates(30, |second| 100 * (second / 8)).1, None, "three steps in the first minute");
    assert!(rates(30, |second| 100 * (second / 5)).1.is_some(), "six of them");
    assert_eq!(rates(3, |second| second), (None, None), "too short a time");
    assert_eq!(Level::default().per_minute(9 * SECOND), None);
    // A step that was just made may be the first of many.
    assert_eq!(rates(30, |second| u64::from(second > 25)), (None, None));
}

#[test]
fn a_level_that_goes_up_and_down_does_not_rise() {
    // A fixed disorder: the low digits of squares.
    let noise = |second: u64| (second * second * 7919 + second * 104_729) % 101;
    for seconds in (40..400).step_by(40) {
        let (_, rise) = rates(seconds, |second| 500 + noise(second));
        assert_eq!(rise, None, "after {seconds} s");
    }
    let leak = |second: u64| 500 + noise(second) + second * 8;
    is_about((rates(300, leak).1, rates(300, leak).1), 480.0);
}

#[test]
fn the_forecast_is_the_room_that_is_left_by_the_rate() {
    let level = sampled(60, |second| 400 + second);
    let left = level.reaches_in_ns(1_060, 60 * SECOND).unwrap_or_default();
    assert!(left.abs_diff(600 * SECOND) < 30 * SECOND, "{left}");
    assert_eq!(level.reaches_in_ns(300, 60 * SECOND), Some(0));
    assert_eq!(level.reaches_in_ns(u64::MAX, 60 * SECOND), None, "not within a year");
    assert_eq!(level.reaches_in_ns(1_060, 90 * SECOND), None, "it is over");
}

#[test]
fn arrivals_are_counted_while_they_go_on() {
    let steady: Vec<u32> = (0..100).map(|nth| nth * 100).collect();
    assert_eq!(Arrivals::of(steady.clone(), 10_000), Arrivals { per_second: 10.0, is_trend: true });
    let over = steady.iter().map(|age| age / 5 + 3_000).collect();
    assert_eq!(Arrivals::of(over, 10_000), Arrivals { per_second: 0.0, is_trend: false });
    // All at one moment, and at two.
    for moments in [vec![40; 50], [vec![40; 50], vec![900; 50]].concat()] {
        assert!(!Arrivals::of(moments.clone(), 10_000).is_trend, "{moments:?}");
    }
    assert!(Arrivals::of(vec![40, 900, 1_900], 10_000).is_trend);
    assert_eq!(Arrivals::of(Vec::new(), 10_000), Arrivals { per_second: 0.0, is_trend: false });
}

proptest! {
    #[test]
    fn memory_is_bounded_and_no_sample_panics(
        samples in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..300),
        now in any::<u64>(),
    ) {
        let mut level = Level::default();
        for (at, value) in samples {
            level.note(at, value);
            prop_assert!(level.changes.len() <= MAX_CHANGES + 1);
        }
        level.per_minute(now);
        level.reaches_in_ns(now, now);
    }

    #[test]
    fn whatever_was_before_when_it_has_ended_nothing_is_forecast(
        steps in proptest::collection::vec((1u64..20, 1u64..1_000), 1..100),
    ) {
        let (mut level, mut now, mut value, mut longest) = (Level::since(0, 0), 0, 0, 0);
        for (seconds, more) in steps {
            now += seconds * SECOND;
            value += more;
            longest = longest.max(seconds);
            level.note(now, value);
        }
        let later = now + (2 * longest + 4) * SECOND;
        prop_assert_eq!(level.rise_per_second(later), None);
        prop_assert_eq!(level.reaches_in_ns(value + 1, later), None);
    }

    #[test]
    fn a_level_that_rises_by_one_rate_has_that_rate(
        every in 1u64..30,
        by in 1u64..50,
        steps in 8u64..200,
    ) {
        let seconds = every * steps;
        let level = sampled(seconds, |second| second / every * by);
        let rate = level.rise_per_second(seconds * SECOND).unwrap_or_default();
        let expected = by as f64 / every as f64;
        prop_assert!((rate - expected).abs() <= expected * 0.2, "{rate}, expected {expected}");
    }

    #[test]
    fn arrivals_never_panic(ages in proptest::collection::vec(any::<u32>(), 0..100), watched in any::<u32>()) {
        let arrivals = Arrivals::of(ages, watched);
        prop_assert!(arrivals.per_second >= 0.0);
    }
}
