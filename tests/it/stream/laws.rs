//! Laws that hold for any samples, against references that take their time.

use std::num::NonZeroUsize;
use std::time::Duration;

use chrono::TimeDelta;
use futures::stream::iter;
use loopmon::{Alert, Hysteresis, Percentile, Sample, SampleStreamExt};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{at, collect, ms};

/// Short ones that are often alike, zero, the longest, and any.
fn any_lag() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0..5_u64).prop_map(ms),
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
        1 => any::<Duration>(),
    ]
}

/// The time since the sample before, in milliseconds: regular, long, none, or the clock set back.
fn any_gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => Just(10),
        1 => 0..100_000_000_i64,
        1 => Just(0),
        1 => -1_000..0_i64,
    ]
}

/// Samples of any lag at any time; `tasks` numbers them.
fn any_samples() -> impl Strategy<Value = Vec<Sample>> {
    vec((any_lag(), any_gap()), 0..60).prop_map(|steps| {
        let mut data_at = at(0);
        let sample = |(index, (lag, gap))| {
            data_at += TimeDelta::milliseconds(gap);
            Sample::new(lag, index, data_at)
        };
        steps.into_iter().enumerate().map(sample).collect()
    })
}

fn any_window() -> impl Strategy<Value = NonZeroUsize> {
    prop_oneof![
        9 => (1..20_usize).prop_map(|window| NonZeroUsize::new(window).unwrap()),
        1 => Just(NonZeroUsize::MAX),
    ]
}

/// The samples again, with the lag that `figure` makes of each window of lags.
fn windowed(
    samples: &[Sample],
    window: NonZeroUsize,
    figure: impl Fn(&[Duration]) -> Duration,
) -> Vec<Sample> {
    let lags: Vec<_> = samples.iter().map(|sample| sample.lag).collect();
    (1..=samples.len())
        .map(|end| {
            let mut sample = samples[end - 1];
            sample.lag = figure(&lags[end.saturating_sub(window.get())..end]);
            sample
        })
        .collect()
}

/// The time from each sample to the next, none where the clock was set back.
fn elapsed(samples: &[Sample]) -> Vec<Duration> {
    samples
        .windows(2)
        .map(|pair| {
            (pair[1].data_at - pair[0].data_at)
                .to_std()
                .unwrap_or(Duration::ZERO)
        })
        .collect()
}

proptest! {
    #[test]
    fn the_average_is_the_sum_divided(samples in any_samples(), window in any_window()) {
        let expected = windowed(&samples, window, |lags| {
            let nanos = lags.iter().map(Duration::as_nanos).sum::<u128>() / lags.len() as u128;
            let secs = (nanos / 1_000_000_000) as u64;
            Duration::new(secs, (nanos % 1_000_000_000) as u32)
        });
        assert_eq!(collect(iter(samples).moving_average(window)), expected);
    }

    #[test]
    fn the_average_is_between_the_least_and_the_largest(
        samples in any_samples(),
        window in any_window(),
    ) {
        let averages = collect(iter(samples.clone()).moving_average(window));
        let least = windowed(&samples, window, |lags| *lags.iter().min().unwrap());
        let largest = windowed(&samples, window, |lags| *lags.iter().max().unwrap());
        for index in 0..samples.len() {
            assert!(least[index].lag <= averages[index].lag);
            assert!(averages[index].lag <= largest[index].lag);
        }
    }

    #[test]
    fn the_max_is_the_largest_of_the_window(samples in any_samples(), window in any_window()) {
        let expected = windowed(&samples, window, |lags| *lags.iter().max().unwrap());
        assert_eq!(collect(iter(samples).moving_max(window)), expected);
    }

    #[test]
    fn the_percentile_is_the_one_of_nearest_rank_when_sorted(
        samples in any_samples(),
        window in any_window(),
        percent in 0..=1_000_u32,
    ) {
        let expected = windowed(&samples, window, |lags| {
            let mut sorted = lags.to_vec();
            sorted.sort();
            let rank = (sorted.len() * percent as usize).div_ceil(1_000).max(1);
            sorted[rank - 1]
        });
        let percentile = Percentile::new(f64::from(percent) / 10.0).unwrap();
        assert_eq!(collect(iter(samples).moving_percentile(window, percentile)), expected);
    }

    #[test]
    fn the_ends_of_the_percentiles_are_min_and_max(
        samples in any_samples(),
        window in any_window(),
    ) {
        let last = Percentile::new(100.0).unwrap();
        assert_eq!(
            collect(iter(samples.clone()).moving_percentile(window, last)),
            collect(iter(samples.clone()).moving_max(window)),
        );
        let first = Percentile::new(0.0).unwrap();
        assert_eq!(
            collect(iter(samples.clone()).moving_percentile(window, first)),
            windowed(&samples, window, |lags| *lags.iter().min().unwrap()),
        );
    }

    #[test]
    fn ewma_moves_from_where_it_was_towards_the_lag(
        samples in any_samples(),
        half_life in prop_oneof![(0..100_u64).prop_map(ms), any::<Duration>()],
    ) {
        let averages = collect(iter(samples.clone()).ewma(half_life));
        assert_eq!(averages.first(), samples.first());
        assert_eq!(averages.len(), samples.len());
        for (pair, sample) in averages.windows(2).zip(samples.iter().skip(1)) {
            let (before, after, lag) = (pair[0].lag, pair[1].lag, sample.lag);
            assert!(before.min(lag) <= after && after <= before.max(lag));
        }
    }

    #[test]
    fn ewma_follows_its_formula(samples in any_samples(), half_life_ms in 1..100_000_u64) {
        let averages = collect(iter(samples.clone()).ewma(ms(half_life_ms)));
        let elapsed = elapsed(&samples);
        for index in 1..samples.len() {
            let half_lives = elapsed[index - 1].as_secs_f64() * 1e3 / half_life_ms as f64;
            let kept = 0.5_f64.powf(half_lives);
            let [before, after] = [index - 1, index].map(|index| averages[index].lag.as_secs_f64());
            let expected = kept * before + (1.0 - kept) * samples[index].lag.as_secs_f64();
            // Two roundings to a nanosecond, and those of the floats.
            let off = (after - expected).abs();
            assert!(off <= 2e-9 + 1e-9 * expected, "{after} and not {expected}");
        }
    }

    #[test]
    fn sustained_is_above_for_that_long_without_a_break(
        samples in any_samples(),
        threshold in any_lag(),
        for_ms in 0..100_u64,
    ) {
        let elapsed = elapsed(&samples);
        let sustained = |end: usize| {
            let above = samples[..=end].iter().rev().take_while(|sample| sample.lag > threshold);
            let since = end + 1 - above.count();
            since <= end
                && elapsed[since..end].iter().sum::<Duration>() >= ms(for_ms)
        };
        let expected: Vec<_> = (0..samples.len())
            .filter(|end| sustained(*end))
            .map(|end| samples[end])
            .collect();
        assert_eq!(collect(iter(samples.clone()).lag_sustained(threshold, ms(for_ms))), expected);
    }

    #[test]
    fn filters_may_be_chained_in_any_order(
        samples in any_samples(),
        above in any_lag(),
        below in any_lag(),
    ) {
        let expected: Vec<_> = samples
            .iter()
            .filter(|sample| above < sample.lag && sample.lag < below)
            .copied()
            .collect();
        let source = || iter(samples.clone());
        assert_eq!(collect(source().lag_above(above).lag_below(below)), expected);
        assert_eq!(collect(source().lag_below(below).lag_above(above)), expected);
    }

    #[test]
    fn windows_of_the_max_add_up(samples in any_samples(), one in 1..9_usize, other in 1..9_usize) {
        let [one, other, both] = [one, other, one + other - 1].map(super::window);
        let source = || iter(samples.clone());
        let expected = collect(source().moving_max(both));
        assert_eq!(collect(source().moving_max(one).moving_max(other)), expected);
        assert_eq!(collect(source().moving_max(other).moving_max(one)), expected);
    }

    #[test]
    fn alerts_alternate_and_none_is_left_out(
        samples in any_samples(),
        one in any_lag(),
        other in any_lag(),
    ) {
        let thresholds = Hysteresis::new(one.max(other), one.min(other)).unwrap();
        let alerts = collect(iter(samples.clone()).lag_alerts(thresholds));

        let mut rest = &samples[..];
        let mut expected = Vec::new();
        let raises = |sample: &Sample| sample.lag >= thresholds.raise_at();
        let clears = |sample: &Sample| !raises(sample) && sample.lag <= thresholds.clear_at();
        while let Some(index) = rest.iter().position(raises) {
            expected.push(Alert::Raised(rest[index]));
            rest = &rest[index..];
            let Some(index) = rest.iter().position(clears) else {
                break;
            };
            expected.push(Alert::Cleared(rest[index]));
            rest = &rest[index..];
        }
        assert_eq!(alerts, expected);
    }
}
