//! The interval at which samples should have come: learnt from the samples, or set by the user.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::sample::Sample;
use crate::stats::{Percentile, SlidingPercentile};

/// How many of the newest gaps between samples the median is of.
const GAPS: NonZeroUsize = NonZeroUsize::new(31).unwrap();

/// The interval that the correction uses.
#[derive(Debug)]
pub(super) enum Interval {
    Learnt(Learnt),
    /// Zero turns the correction off.
    Given(Duration),
}

/// The interval as the samples show it.
///
/// A sampler waits for the interval and is late by the lag, so the gap before each sample is the sum of
/// both. The median ignores single gaps that are wrong: late timestamps, and clocks that were set.
#[derive(Debug)]
pub(super) struct Learnt {
    gaps: SlidingPercentile,
    median: Option<Duration>,
}

impl Interval {
    pub(super) fn learnt() -> Interval {
        Interval::Learnt(Learnt {
            gaps: SlidingPercentile::new(GAPS, Percentile::P50),
            median: None,
        })
    }

    /// Returns the interval, given a `sample` that came `elapsed` after the one before.
    pub(super) fn after(&mut self, elapsed: Duration, sample: &Sample) -> Option<Duration> {
        match self {
            Interval::Learnt(learnt) => {
                learnt.learn(elapsed, sample);
                learnt.median
            }
            Interval::Given(interval) => Some(*interval).filter(|interval| !interval.is_zero()),
        }
    }
}

impl Learnt {
    fn learn(&mut self, elapsed: Duration, sample: &Sample) {
        // The first sample, and one after the clock was set back, show no interval.
        let on_time = elapsed.saturating_sub(sample.lag);
        if !on_time.is_zero() {
            // The gap contains the intervals of lost samples, too.
            let shares = u32::try_from(sample.missed.saturating_add(1)).unwrap_or(u32::MAX);
            self.median = Some(self.gaps.push(on_time / shares));
        }
    }
}
