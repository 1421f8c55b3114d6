//! The adapter that lets through the samples below a threshold.

use std::time::Duration;

use futures::Stream;

use crate::sample::Sample;

use super::adapter::{Adapter, adapter};
use super::filter::{Filter, Gate};

adapter! {
    /// The stream of [`lag_below`](super::SampleStreamExt::lag_below).
    LagBelow: Filter<Below> => Sample
}

#[derive(Debug)]
struct Below {
    threshold: Duration,
}

impl Gate for Below {
    fn passes(&mut self, sample: &Sample) -> bool {
        sample.lag < self.threshold
    }
}

impl<St: Stream> LagBelow<St> {
    pub(super) fn new(source: St, threshold: Duration) -> LagBelow<St> {
        LagBelow {
            adapter: Adapter::new(source, Filter::new(Below { threshold })),
        }
    }
}
