//! The time that passes from sample to sample.

use std::time::Duration;

use crate::sample::Sample;

/// Tells how much later each sample was taken than the one before it.
///
/// Clocks may be set back: then no time has passed, and time goes on from there.
#[derive(Debug, Default)]
pub(super) struct Elapsed {
    last: Option<Sample>,
}

impl Elapsed {
    /// The time from the sample before to `sample`; zero for the first.
    pub(super) fn until(&mut self, sample: &Sample) -> Duration {
        self.last
            .replace(*sample)
            .map_or(Duration::ZERO, |last| sample.since(&last))
    }
}
