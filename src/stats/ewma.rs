//! The exponentially weighted moving average of values at uneven intervals.

use std::time::Duration;

/// An average in which a lag's weight halves with every half-life that passes.
///
/// `average = kept × average + (1 − kept) × lag` with `kept = 2^(−elapsed / half_life)`: each lag
/// weighs by the time since the one before it. This is the "next point" average of A. Eckner,
/// *Algorithms for Unevenly Spaced Time Series: Moving Averages and Other Rolling Operators*, with
/// his `τ = half_life / ln 2`.
#[derive(Debug)]
pub(crate) struct Ewma {
    half_life: Duration,
    average: Option<Average>,
}

#[derive(Debug)]
struct Average {
    /// Holds the average in seconds. Not a `Duration`: with a long half-life each step is less than a
    /// nanosecond.
    exact: f64,
    rounded: Duration,
}

impl Ewma {
    pub(crate) fn new(half_life: Duration) -> Ewma {
        Ewma {
            half_life,
            average: None,
        }
    }

    /// Adds `lag`, which came `elapsed` after the lag before it, and returns the average.
    pub(crate) fn push(&mut self, lag: Duration, elapsed: Duration) -> Duration {
        let kept = self.kept(elapsed);
        let average = self.average.get_or_insert(Average {
            exact: lag.as_secs_f64(),
            rounded: lag,
        });
        average.exact = kept * average.exact + (1.0 - kept) * lag.as_secs_f64();
        // It fails only past `Duration::MAX`. Floats round, so the clamp keeps the average between its
        // last value and the lag.
        average.rounded = Duration::try_from_secs_f64(average.exact)
            .unwrap_or(Duration::MAX)
            .clamp(average.rounded.min(lag), average.rounded.max(lag));
        average.rounded
    }

    /// Returns the share of the average that remains after `elapsed`.
    fn kept(&self, elapsed: Duration) -> f64 {
        if self.half_life.is_zero() {
            return 0.0;
        }
        (-elapsed.as_secs_f64() / self.half_life.as_secs_f64()).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn halves_what_is_left_with_each_half_life() {
        let mut ewma = Ewma::new(10 * SECOND);
        assert_eq!(ewma.push(8 * SECOND, Duration::ZERO), 8 * SECOND);
        assert_eq!(ewma.push(Duration::ZERO, 10 * SECOND), 4 * SECOND);
        assert_eq!(ewma.push(Duration::ZERO, 20 * SECOND), SECOND);
    }

    #[test]
    fn the_steps_on_the_way_do_not_matter() {
        let mut at_once = Ewma::new(SECOND);
        let mut in_steps = Ewma::new(SECOND);
        at_once.push(SECOND, Duration::ZERO);
        in_steps.push(SECOND, Duration::ZERO);
        let at_once = at_once.push(Duration::ZERO, 3 * SECOND);
        let mut last = Duration::MAX;
        for _ in 0..3_000 {
            last = in_steps.push(Duration::ZERO, Duration::from_millis(1));
        }
        assert!(last.abs_diff(at_once) <= Duration::from_nanos(1));
    }

    #[test]
    fn a_long_half_life_gets_there_all_the_same() {
        let hour = 3_600 * SECOND;
        let mut ewma = Ewma::new(hour);
        ewma.push(Duration::from_micros(1), Duration::ZERO);
        let mut last = Duration::MAX;
        // Each step moves the average by two thousandths of a nanosecond.
        for _ in 0..360_000 {
            last = ewma.push(Duration::ZERO, Duration::from_millis(10));
        }
        assert_eq!(last, Duration::from_nanos(500));
    }

    #[test]
    fn without_a_half_life_it_has_no_memory() {
        let mut ewma = Ewma::new(Duration::ZERO);
        ewma.push(SECOND, Duration::ZERO);
        assert_eq!(ewma.push(2 * SECOND, Duration::ZERO), 2 * SECOND);
    }

    #[test]
    fn a_lag_that_stands_for_no_time_has_no_weight() {
        let mut ewma = Ewma::new(SECOND);
        ewma.push(SECOND, Duration::ZERO);
        assert_eq!(ewma.push(9 * SECOND, Duration::ZERO), SECOND);
    }

    #[test]
    fn holds_the_longest_durations() {
        let mut ewma = Ewma::new(SECOND);
        ewma.push(Duration::MAX, SECOND);
        assert_eq!(ewma.push(Duration::MAX, Duration::MAX), Duration::MAX);
        assert_eq!(ewma.push(Duration::ZERO, Duration::MAX), Duration::ZERO);
        let mut ewma = Ewma::new(Duration::MAX);
        ewma.push(SECOND, Duration::ZERO);
        assert_eq!(ewma.push(Duration::ZERO, SECOND), SECOND);
    }
}
