//! The adapter that lets through the samples above a threshold.

use std::time::Duration;

use futures::Stream;

use crate::sample::Sample;

use super::adapter::{Adapter, adapter};
use super::filter::{Filter, Gate};

adapter! {
    /// The stream of [`lag_above`](super::SampleStreamExt::lag_above).
    LagAbove: Filter<Above> => Sample
}

#[derive(Debug)]
struct Above {
    threshold: Duration,
}

impl Gate for Above {
    fn passes(&mut self, sample: &Sample) -> bool {
        sample.lag > self.threshold
    }
}

impl<St: Stream> LagAbove<St> {
    pub(super) fn new(source: St, threshold: Duration) -> LagAbove<St> {
        LagAbove {
            adapter: Adapter::new(source, Filter::new(Above { threshold })),
        }
    }
}
