//! What a law sees.

use std::time::Duration;

/// What a law is told with each sample.
#[derive(Debug, Clone, Copy)]
pub(in crate::shed) struct Observation {
    /// The time since the observation before.
    pub(in crate::shed) elapsed: Duration,
    pub(in crate::shed) lag: Duration,
    /// The share of the requests that was admitted in that time.
    pub(in crate::shed) admitted: f64,
}
