//! The adapter that keeps the longest of the newest lags. The arithmetic is in `stats`.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures::Stream;

use crate::sample::Sample;
use crate::stats::SlidingMax;

use super::adapter::{Adapter, adapter};
use super::smooth::{Figure, Smooth};

adapter! {
    /// The stream of [`moving_max`](super::SampleStreamExt::moving_max).
    MovingMax: Smooth<SlidingMax> => Sample
}

impl Figure for SlidingMax {
    fn follow(&mut self, sample: &Sample) -> Duration {
        self.push(sample.lag)
    }
}

impl<St: Stream> MovingMax<St> {
    pub(super) fn new(source: St, window: NonZeroUsize) -> MovingMax<St> {
        MovingMax {
            adapter: Adapter::new(source, Smooth(SlidingMax::new(window))),
        }
    }
}
