//! Rules that give each sample again with another lag.

use std::time::Duration;

use crate::sample::Sample;

use super::adapter::{Rule, SizeHint};

/// A figure that follows the lag from sample to sample.
pub(super) trait Figure {
    fn follow(&mut self, sample: &Sample) -> Duration;
}

/// Puts its figure in the place of each sample's lag.
#[derive(Debug)]
pub(super) struct Smooth<F>(pub(super) F);

impl<F: Figure> Rule for Smooth<F> {
    type Item = Sample;

    fn push(&mut self, mut sample: Sample) -> Option<Sample> {
        sample.lag = self.0.follow(&sample);
        Some(sample)
    }

    fn size_hint(&self, samples: SizeHint) -> SizeHint {
        samples
    }
}
