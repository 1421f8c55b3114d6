//! The rule of all adapters that replace the lag of each sample. What they replace it by is a `Figure`.

use std::time::Duration;

use crate::sample::Sample;

use super::adapter::{Rule, SizeHint};

/// A figure that is updated with each sample.
pub(super) trait Figure {
    fn follow(&mut self, sample: &Sample) -> Duration;
}

/// Replaces each sample's lag by its figure.
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
