//! The time that passes from sample to sample.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Tells how much later each sample was taken than the one before it, going by `data_at`.
///
/// The wall clock may be set back: then no time has passed, and time goes on from there.
#[derive(Debug, Default)]
pub(super) struct Elapsed {
    last: Option<DateTime<Utc>>,
}

impl Elapsed {
    /// The time since the sample before the one taken at `data_at`; zero for the first.
    pub(super) fn until(&mut self, data_at: DateTime<Utc>) -> Duration {
        let last = self.last.replace(data_at).unwrap_or(data_at);
        // It fails for negative durations only.
        (data_at - last).to_std().unwrap_or(Duration::ZERO)
    }
}
