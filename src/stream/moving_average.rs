//! The adapter that averages the newest lags. The arithmetic is in `stats`.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures::Stream;

use crate::sample::Sample;
use crate::stats::SlidingMean;

use super::adapter::{Adapter, adapter};
use super::smooth::{Figure, Smooth};

adapter! {
    /// The stream of [`moving_average`](super::SampleStreamExt::moving_average).
    MovingAverage: Smooth<SlidingMean> => Sample
}

impl Figure for SlidingMean {
    fn follow(&mut self, sample: &Sample) -> Duration {
        self.push(sample.lag)
    }
}

impl<St: Stream> MovingAverage<St> {
    pub(super) fn new(source: St, window: NonZeroUsize) -> MovingAverage<St> {
        MovingAverage {
            adapter: Adapter::new(source, Smooth(SlidingMean::new(window))),
        }
    }
}
