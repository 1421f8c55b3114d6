//! The summary of a window of samples. How it is computed is in `summarize.rs`.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// The lag over a period, from [`summarize`](crate::SampleStreamExt::summarize).
///
/// `Display` prints one line for logs and terminals, with times in seconds. With the `serde` feature it can
/// be serialised, with durations in serde's own form.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LagSummary {
    /// When the first of its samples was taken.
    pub first_at: DateTime<Utc>,
    /// When the last of its samples was taken.
    pub last_at: DateTime<Utc>,
    /// The number of samples, at least one. Samples that the correction adds do not count.
    pub count: u64,
    /// How many samples the reader lost in this window, because it was too slow.
    pub missed: u64,
    /// The shortest lag.
    pub min: Duration,
    /// The mean of the lags, rounded down to a nanosecond.
    pub mean: Duration,
    /// The median lag.
    pub p50: Duration,
    /// The 90th percentile.
    pub p90: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The 99.9th percentile.
    pub p999: Duration,
    /// The longest lag.
    pub max: Duration,
}

impl LagSummary {
    /// A summary of `count` samples, with zero in the other fields: for tests of your own.
    #[must_use]
    pub const fn new(first_at: DateTime<Utc>, last_at: DateTime<Utc>, count: u64) -> LagSummary {
        LagSummary {
            first_at,
            last_at,
            count,
            missed: 0,
            min: Duration::ZERO,
            mean: Duration::ZERO,
            p50: Duration::ZERO,
            p90: Duration::ZERO,
            p99: Duration::ZERO,
            p999: Duration::ZERO,
            max: Duration::ZERO,
        }
    }
}

impl fmt::Display for LagSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "event loop lag of {} samples: min {:.3}, mean {:.3}, p50 {:.3}, p90 {:.3}, p99 {:.3}, \
             p99.9 {:.3}, max {:.3}, missed {}",
            self.count,
            self.min.as_secs_f64(),
            self.mean.as_secs_f64(),
            self.p50.as_secs_f64(),
            self.p90.as_secs_f64(),
            self.p99.as_secs_f64(),
            self.p999.as_secs_f64(),
            self.max.as_secs_f64(),
            self.missed,
        )
    }
}
