//! The adapter that lets through the samples below a threshold.

use std::time::Duration;

use crate::sample::Sample;

use super::adapter::adapter;
use super::filter::{Filter, Gate};

adapter! {
    /// The stream of [`lag_below`](super::SampleStreamExt::lag_below).
    LagBelow(threshold: Duration): Filter<Below> => Sample {
        Filter::new(Below { threshold })
    }
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
