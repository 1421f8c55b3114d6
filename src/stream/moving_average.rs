//! The adapter that averages the newest lags. The arithmetic is in `stats`.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::sample::Sample;
use crate::stats::SlidingMean;

use super::adapter::adapter;
use super::smooth::{Figure, Smooth};

adapter! {
    /// The stream of [`moving_average`](super::SampleStreamExt::moving_average).
    MovingAverage(window: NonZeroUsize): Smooth<SlidingMean> => Sample {
        Smooth(SlidingMean::new(window))
    }
}

impl Figure for SlidingMean {
    fn follow(&mut self, sample: &Sample) -> Duration {
        self.push(sample.lag)
    }
}
