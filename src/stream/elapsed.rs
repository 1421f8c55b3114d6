//! The time between samples. It reads no clock.

use std::time::Duration;

use crate::sample::Sample;

/// Measures how much later each sample was taken than the one before it.
///
/// If the clock was set back, no time has passed, and time continues from there.
#[derive(Debug, Default)]
pub(super) struct Elapsed {
    last: Option<Sample>,
}

impl Elapsed {
    /// Returns the time from the sample before to `sample`; zero for the first.
    pub(super) fn until(&mut self, sample: &Sample) -> Duration {
        self.last
            .replace(*sample)
            .map_or(Duration::ZERO, |last| sample.since(&last))
    }
}
