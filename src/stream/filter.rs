//! Rules that let some samples through.

use crate::sample::Sample;

use super::adapter::{Rule, SizeHint};

/// Which samples a filter lets through.
pub(super) trait Gate {
    fn passes(&mut self, sample: &Sample) -> bool;
}

/// Lets through what its gate does, and tells with it what was missed on the way.
#[derive(Debug)]
pub(super) struct Filter<G> {
    pub(super) gate: G,
    /// Lost before samples that did not pass, since the last one that did.
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
