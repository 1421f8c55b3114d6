//! The rule of all adapters that drop samples. Which samples pass is a `Gate` in each adapter's file.

use crate::sample::Sample;

use super::adapter::{Rule, SizeHint};

/// Decides which samples pass a filter.
pub(super) trait Gate {
    fn passes(&mut self, sample: &Sample) -> bool;
}

/// Lets through the samples that pass its gate, and adds to them what the dropped ones have missed.
#[derive(Debug)]
pub(super) struct Filter<G> {
    pub(super) gate: G,
    /// Counts the samples lost before dropped ones, since the last sample that passed.
    missed: u64,
}

impl<G> Filter<G> {
    pub(super) fn new(gate: G) -> Filter<G> {
        Filter { gate, missed: 0 }
    }
}

impl<G: Gate> Rule for Filter<G> {
    type Item = Sample;

    fn push(&mut self, mut sample: Sample) -> Option<Sample> {
        sample.missed = sample.missed.saturating_add(self.missed);
        if self.gate.passes(&sample) {
            self.missed = 0;
            Some(sample)
        } else {
            self.missed = sample.missed;
            None
        }
    }

    fn size_hint(&self, (_, upper): SizeHint) -> SizeHint {
        (0, upper)
    }
}
