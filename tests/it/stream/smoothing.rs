//! `moving_average`, `ewma`, `moving_max`, `moving_percentile`.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures::stream::iter;
use loopmon::{Percentile, Sample, SampleStreamExt};

use super::{at, collect, lags, ms, samples, window};

#[test]
fn moving_windows_start_with_what_is_there() {
    let source = || iter(samples([30, 10, 80, 0, 40]));
    assert_eq!(
        lags(source().moving_average(window(2))),
        [30, 20, 45, 40, 20],
    );
    assert_eq!(lags(source().moving_max(window(2))), [30, 30, 80, 80, 40]);
    assert_eq!(
        lags(source().moving_percentile(window(3), Percentile::P50)),
        [30, 10, 30, 10, 40],
    );
}

#[test]
fn a_window_of_one_is_the_sample_itself() {
    let given = samples([3, 1, 2]);
    let source = || iter(given.clone());
    assert_eq!(collect(source().moving_average(window(1))), given);
    assert_eq!(collect(source().moving_max(window(1))), given);
    assert_eq!(
        collect(source().moving_percentile(window(1), Percentile::P99)),
        given,
    );
}

#[test]
fn the_largest_window_takes_no_memory_before_it_needs_it() {
    let source = || iter(samples([3, 1, 2]));
    assert_eq!(lags(source().moving_average(NonZeroUsize::MAX)), [3, 2, 2]);
    assert_eq!(lags(source().moving_max(NonZeroUsize::MAX)), [3, 3, 3]);
    assert_eq!(
        lags(source().moving_percentile(NonZeroUsize::MAX, Percentile::P50)),
        [3, 1, 2],
    );
}

#[test]
fn only_the_lag_is_smoothed() {
    let mut newest = Sample::new(ms(20), 7, at(50));
    newest.queue_depth = 3;
    newest.busy = 0.5;
    newest.missed = 2;
    let smoothed = collect(iter([Sample::new(ms(10), 1, at(0)), newest]).moving_average(window(2)));
    newest.lag = ms(15);
    assert_eq!(smoothed[1], newest);
}

#[test]
fn the_average_does_not_drift() {
    let long = Duration::MAX;
    let short = Duration::from_nanos(1);
    let source = iter((0..10_000).map(|index| {
        let lag = if index < 5_000 { long } else { short };
        Sample::new(lag, 0, at(index))
    }));
    let averages = collect(source.moving_average(window(3)));
    assert_eq!(averages[4_999].lag, long);
    assert_eq!(averages[9_999].lag, short);
}

#[test]
fn ewma_decays_by_time_not_by_count() {
    // Ten samples in the half-life, or one.
    let dense = (1..=10).map(|step| Sample::new(ms(0), 0, at(10 * step)));
    let sparse = [Sample::new(ms(0), 0, at(100))];
    let first = [Sample::new(ms(80), 0, at(0))];
    let dense = lags(iter(first.into_iter().chain(dense)).ewma(ms(100)));
    let sparse = lags(iter(first.into_iter().chain(sparse)).ewma(ms(100)));
    assert_eq!(dense.last(), Some(&40));
    assert_eq!(sparse.last(), Some(&40));
}

#[test]
fn ewma_forgets_a_stall_by_its_half_life() {
    let second = Duration::from_secs(1);
    let source = iter([
        Sample::new(second, 0, at(0)),
        Sample::new(ms(0), 0, at(1_000)),
        Sample::new(ms(0), 0, at(2_000)),
        Sample::new(ms(0), 0, at(4_000)),
    ]);
    assert_eq!(lags(source.ewma(second)), [1_000, 500, 250, 62]);
}

#[test]
fn ewma_holds_still_while_the_clock_is_set_back() {
    let source = iter([
        Sample::new(ms(80), 0, at(10_000)),
        Sample::new(ms(0), 0, at(0)),
        Sample::new(ms(0), 0, at(100)),
    ]);
    assert_eq!(lags(source.ewma(ms(100))), [80, 80, 40]);
}
