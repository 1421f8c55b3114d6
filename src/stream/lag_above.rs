//! The adapter that lets through the samples above a threshold.

use std::time::Duration;

use crate::sample::Sample;

use super::adapter::adapter;
use super::filter::{Filter, Gate};

adapter! {
    /// The stream of [`lag_above`](super::SampleStreamExt::lag_above).
    LagAbove(threshold: Duration): Filter<Above> => Sample {
        Filter::new(Above { threshold })
    }
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
