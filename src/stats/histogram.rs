//! The distribution of lags, corrected for lags that were not measured. It knows no windows of time.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::from_nanos;

/// Shorter lags count as zero in the percentiles. In nanoseconds, like the constants below.
///
/// It is a power of two: the first 2,048 buckets have this width, and later ones are wider.
const SHORTEST: u64 = 256;
/// Longer lags count as this in the percentiles and in the correction.
const LONGEST: u64 = 3_600 * 1_000_000_000;
/// Shorter intervals count as this, which bounds how many lags the correction adds for one lag.
const SHORTEST_INTERVAL: u64 = 1_000;
/// In wider buckets, lags differ by at most a thousandth.
const SIGNIFICANT_FIGURES: u8 = 3;

/// Counts lags by size, in memory that does not grow.
pub(crate) struct LagHistogram {
    buckets: Histogram<u64>,
    exact: Exact,
}

/// The figures that need no buckets.
struct Exact {
    count: u64,
    nanos: u128,
    min: Duration,
    max: Duration,
}

impl Exact {
    const EMPTY: Exact = Exact {
        count: 0,
        nanos: 0,
        min: Duration::MAX,
        max: Duration::ZERO,
    };

    fn add(&mut self, count: u64, nanos: u128, min: Duration, max: Duration) {
        self.count = self.count.saturating_add(count);
        self.nanos = self.nanos.saturating_add(nanos);
        self.min = self.min.min(min);
        self.max = self.max.max(max);
    }
}

impl LagHistogram {
    pub(crate) fn new() -> LagHistogram {
        LagHistogram {
            buckets: Histogram::new_with_bounds(SHORTEST, LONGEST, SIGNIFICANT_FIGURES)
                .expect("the bounds and the figures are constants within its limits"),
            exact: Exact::EMPTY,
        }
    }

    /// Counts a lag that was measured.
    pub(crate) fn record(&mut self, lag: Duration) {
        self.buckets.saturating_record(in_range(lag));
        self.exact.add(1, lag.as_nanos(), lag, lag);
    }

    /// Counts the lags that a sampler would have measured every `interval` during a lag if the lag had not
    /// stopped the sampler, too: `lag - interval`, `lag - 2 × interval`, … down to `interval`.
    ///
    /// This is the correction for coordinated omission by an expected interval, from Gil Tene's
    /// HdrHistogram. It counts all values of one bucket at once, so even the longest lag takes no more
    /// steps than there are buckets.
    pub(crate) fn record_omitted(&mut self, lag: Duration, interval: Duration) {
        let (lag, interval) = (in_range(lag), in_range(interval).max(SHORTEST_INTERVAL));
        let omitted = (lag / interval).saturating_sub(1);
        if omitted == 0 {
            return;
        }
        let mut counted = 0;
        while counted < omitted {
            let longest = lag - (counted + 1) * interval;
            let bucket = self.buckets.lowest_equivalent(longest);
            let alike = ((longest - bucket) / interval + 1).min(omitted - counted);
            self.buckets.saturating_record_n(longest, alike);
            counted += alike;
        }
        let (min, max) = (lag - omitted * interval, lag - interval);
        // The sum of evenly spaced values.
        let nanos = u128::from(min + max) * u128::from(omitted) / 2;
        let (min, max) = (Duration::from_nanos(min), Duration::from_nanos(max));
        self.exact.add(omitted, nanos, min, max);
    }

    pub(crate) fn min(&self) -> Duration {
        self.exact.min
    }

    /// The mean, rounded down to a nanosecond.
    pub(crate) fn mean(&self) -> Duration {
        from_nanos(self.exact.nanos / u128::from(self.exact.count.max(1)))
    }

    pub(crate) fn max(&self) -> Duration {
        self.exact.max
    }

    /// The longest lag in the bucket of the quantile.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        let longest = match self.buckets.value_at_quantile(quantile) {
            0..SHORTEST => Duration::ZERO,
            nanos => Duration::from_nanos(nanos),
        };
        longest.max(self.exact.min).min(self.exact.max)
    }

    /// Removes all lags and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.buckets.reset();
        self.exact = Exact::EMPTY;
    }
}

impl fmt::Debug for LagHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the buckets, which are many thousands.
        f.debug_struct("LagHistogram")
            .field("count", &self.exact.count)
            .finish_non_exhaustive()
    }
}

fn in_range(lag: Duration) -> u64 {
    u64::try_from(lag.as_nanos()).map_or(LONGEST, |nanos| nanos.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, proptest};

    /// The correction as HdrHistogram defines it: one value at a time.
    fn omitted_one_by_one(lag: u64, interval: u64) -> Vec<u64> {
        let mut values = Vec::new();
        let mut missing = lag;
        while missing >= 2 * interval {
            missing -= interval;
            values.push(missing);
        }
        values
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn counts_what_was_omitted_as_one_by_one_would(
            lag in 0..20_000_000_u64,
            interval in 2_000..2_000_000_u64,
        ) {
            let mut at_once = LagHistogram::new();
            at_once.record_omitted(Duration::from_nanos(lag), Duration::from_nanos(interval));
            let mut one_by_one = LagHistogram::new();
            for value in omitted_one_by_one(lag, interval) {
                one_by_one.record(Duration::from_nanos(value));
            }
            assert_eq!(at_once.buckets, one_by_one.buckets);
            assert_eq!(at_once.exact.count, one_by_one.exact.count);
            assert_eq!(at_once.exact.nanos, one_by_one.exact.nanos);
            assert_eq!(at_once.min(), one_by_one.min());
            assert_eq!(at_once.max(), one_by_one.max());
        }

        #[test]
        fn holds_any_lag_and_interval(lags: Vec<Duration>, interval in any::<Duration>()) {
            let mut histogram = LagHistogram::new();
            for lag in lags.iter().chain(&[Duration::MAX, Duration::ZERO]) {
                histogram.record(*lag);
                histogram.record_omitted(*lag, interval);
            }
            assert_eq!(histogram.min(), Duration::ZERO);
            assert_eq!(histogram.max(), Duration::MAX);
            assert!(histogram.quantile(0.5) <= histogram.quantile(0.9));
        }
    }

    #[test]
    fn an_hour_at_a_microsecond_takes_no_more_steps_than_there_are_buckets() {
        let mut histogram = LagHistogram::new();
        histogram.record_omitted(Duration::MAX, Duration::ZERO);
        assert_eq!(histogram.exact.count, LONGEST / SHORTEST_INTERVAL - 1);
    }

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut histogram = LagHistogram::new();
        for micros in 1..=100_000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (quantile, exact) in [(0.5, 50_000), (0.9, 90_000), (0.999, 99_900)] {
            let exact = Duration::from_micros(exact);
            let got = histogram.quantile(quantile);
            assert!(
                exact <= got && got <= exact + exact / 1_000,
                "{quantile}: {got:?}"
            );
        }
    }

    #[test]
    fn clearing_leaves_nothing() {
        let mut histogram = LagHistogram::new();
        histogram.record(Duration::from_secs(9));
        histogram.clear();
        histogram.record(Duration::from_secs(1));
        for got in [
            histogram.min(),
            histogram.mean(),
            histogram.quantile(1.0),
            histogram.max(),
        ] {
            assert_eq!(got, Duration::from_secs(1));
        }
    }
}
