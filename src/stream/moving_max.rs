//! The adapter that keeps the longest of the newest lags. The arithmetic is in `stats`.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::sample::Sample;
use crate::stats::SlidingMax;

use super::adapter::adapter;
use super::smooth::{Figure, Smooth};

adapter! {
    /// The stream of [`moving_max`](super::SampleStreamExt::moving_max).
    MovingMax(window: NonZeroUsize): Smooth<SlidingMax> => Sample {
        Smooth(SlidingMax::new(window))
    }
}

impl Figure for SlidingMax {
    fn follow(&mut self, sample: &Sample) -> Duration {
        self.push(sample.lag)
    }
}
