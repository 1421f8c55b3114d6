//! The adapter that keeps a percentile of the newest lags. The arithmetic is in `stats`.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::sample::Sample;
use crate::stats::{Percentile, SlidingPercentile};

use super::adapter::adapter;
use super::smooth::{Figure, Smooth};

adapter! {
    /// The stream of [`moving_percentile`](super::SampleStreamExt::moving_percentile).
    MovingPercentile(window: NonZeroUsize, percentile: Percentile):
        Smooth<SlidingPercentile> => Sample {
        Smooth(SlidingPercentile::new(window, percentile))
    }
}

impl Figure for SlidingPercentile {
    fn follow(&mut self, sample: &Sample) -> Duration {
        self.push(sample.lag)
    }
}
