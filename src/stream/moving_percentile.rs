//! The adapter that keeps a percentile of the newest lags. The arithmetic is in `stats`.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures::Stream;

use crate::sample::Sample;
use crate::stats::{Percentile, SlidingPercentile};

use super::adapter::{Adapter, adapter};
use super::smooth::{Figure, Smooth};

adapter! {
    /// The stream of [`moving_percentile`](super::SampleStreamExt::moving_percentile).
    MovingPercentile: Smooth<SlidingPercentile> => Sample
}

impl Figure for SlidingPercentile {
    fn follow(&mut self, sample: &Sample) -> Duration {
        self.push(sample.lag)
    }
}

impl<St: Stream> MovingPercentile<St> {
    pub(super) fn new(
        source: St,
        window: NonZeroUsize,
        percentile: Percentile,
    ) -> MovingPercentile<St> {
        MovingPercentile {
            adapter: Adapter::new(source, Smooth(SlidingPercentile::new(window, percentile))),
        }
    }
}
