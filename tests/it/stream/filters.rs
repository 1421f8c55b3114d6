//! `lag_above`, `lag_below`, `lag_sustained`.

use std::time::Duration;

use futures::stream::iter;
use loopmon::{Sample, SampleStreamExt};

use super::{at, collect, lags, ms, samples};

#[test]
fn a_lag_at_the_threshold_is_neither_above_nor_below() {
    let source = || iter(samples([49, 50, 51]));
    assert_eq!(lags(source().lag_above(ms(50))), [51]);
    assert_eq!(lags(source().lag_below(ms(50))), [49]);
}

#[test]
fn thresholds_at_the_ends_let_nothing_through_that_is_not_beyond_them() {
    let zero_and_max = || {
        iter([
            Sample::new(Duration::ZERO, 0, at(0)),
            Sample::new(Duration::MAX, 0, at(0)),
        ])
    };
    let above_zero = collect(zero_and_max().lag_above(Duration::ZERO));
    assert_eq!(above_zero.len(), 1);
    assert_eq!(above_zero[0].lag, Duration::MAX);
    assert_eq!(collect(zero_and_max().lag_below(Duration::ZERO)), []);
    assert_eq!(collect(zero_and_max().lag_above(Duration::MAX)), []);
}

#[test]
fn a_filter_changes_nothing_of_what_it_lets_through() {
    let mut sample = Sample::new(ms(60), 7, at(5));
    sample.queue_depth = 3;
    sample.busy = 0.5;
    sample.missed = 2;
    assert_eq!(collect(iter([sample]).lag_above(ms(50))), [sample]);
}

#[test]
fn sustained_passes_once_the_lag_has_stayed_above() {
    let source = iter(samples([60, 61, 62, 63, 10, 64, 65]));
    // Above from 0 to 30 ms, then only from 50 to 60 ms.
    assert_eq!(lags(source.lag_sustained(ms(50), ms(20))), [62, 63]);
}

#[test]
fn sustained_for_no_time_is_above() {
    let source = || iter(samples([60, 50, 40, 70, 80]));
    assert_eq!(
        collect(source().lag_sustained(ms(50), Duration::ZERO)),
        collect(source().lag_above(ms(50))),
    );
}

#[test]
fn a_lag_at_the_threshold_ends_what_is_sustained() {
    let source = iter(samples([60, 60, 50, 60, 60]));
    assert_eq!(lags(source.lag_sustained(ms(50), ms(20))), []);
}

#[test]
fn lost_samples_do_not_end_what_is_sustained() {
    let mut after_gap = Sample::new(ms(60), 0, at(2_000));
    after_gap.missed = 199;
    let source = iter([Sample::new(ms(60), 0, at(0)), after_gap]);
    assert_eq!(
        collect(source.lag_sustained(ms(50), Duration::from_secs(2))),
        [after_gap],
    );
}

#[test]
fn a_clock_set_back_takes_nothing_from_what_is_sustained() {
    let source = iter([
        Sample::new(ms(60), 0, at(0)),
        Sample::new(ms(61), 0, at(10)),
        Sample::new(ms(62), 0, at(-5_000)),
        Sample::new(ms(63), 0, at(-4_990)),
    ]);
    assert_eq!(lags(source.lag_sustained(ms(50), ms(20))), [63]);
}
