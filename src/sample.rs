//! One periodic measurement.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// One periodic measurement of a monitored runtime.
///
/// `Display` prints one line, made for logs and terminals:
///
/// ```
/// use std::time::Duration;
/// use chrono::DateTime;
/// use loopmon::Sample;
///
/// let at = DateTime::from_timestamp_micros(1_645_630_780_766_393).unwrap();
/// let sample = Sample::new(Duration::from_micros(1_300), 2, at);
/// assert_eq!(
///     sample.to_string(),
///     "event loop lag: 0.001, running tasks: 2, at 2022-02-23 15:39:40.766393+00:00",
/// );
/// ```
///
/// With the `serde` feature it can be serialised, `lag` as serde writes a [`Duration`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sample {
    /// How late something that was ready ran. From a monotonic clock, never negative.
    pub lag: Duration,
    /// Live tasks of the runtime, loopmon's own not counted.
    ///
    /// As Tokio counts them: tasks of a `LocalSet` and the future given to `block_on` are not among
    /// them. On `multi_thread` it may be off by those of loopmon's own that begin or end at that
    /// moment, which are calls of callbacks.
    pub tasks: usize,
    /// When it was taken, from the wall clock.
    ///
    /// The time between two samples of a monitor is not computed from it, but from a monotonic
    /// clock that they carry along. For others, made by hand or read from somewhere, there is only
    /// this.
    pub data_at: DateTime<Utc>,
    /// Tasks waiting in the runtime's global queue.
    #[cfg_attr(feature = "serde", serde(default))]
    pub queue_depth: usize,
    /// The share of all workers' time spent busy since the previous sample, `0.0..=1.0`.
    ///
    /// Tokio publishes a worker's busy time when it parks, and every 61 polls or so. A worker stuck
    /// in one poll therefore counts as idle until it returns, and as busy for it all afterwards.
    /// Zero on targets without 64-bit atomics, where Tokio does not measure it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub busy: f64,
    /// Samples this reader lost just before this one, because it was too slow.
    #[cfg_attr(feature = "serde", serde(default))]
    pub missed: u64,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) taken: Taken,
}

/// When a monitor took the sample, on Tokio's clock.
///
/// Not compared: samples that tell the same are equal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken(pub(crate) Option<Instant>);

impl PartialEq for Taken {
    fn eq(&self, _: &Taken) -> bool {
        true
    }
}

impl Sample {
    /// A sample with the given fields and zero in the others: for tests and for streams of your own.
    #[must_use]
    pub const fn new(lag: Duration, tasks: usize, data_at: DateTime<Utc>) -> Sample {
        Sample {
            lag,
            tasks,
            data_at,
            queue_depth: 0,
            busy: 0.0,
            missed: 0,
            taken: Taken(None),
        }
    }

    /// The time from `earlier` to this one; none if the clock says that this one is the earlier.
    pub(crate) fn since(&self, earlier: &Sample) -> Duration {
        match (earlier.taken.0, self.taken.0) {
            (Some(earlier), Some(taken)) => taken.saturating_duration_since(earlier),
            // It fails for negative durations only.
            _ => (self.data_at - earlier.data_at)
                .to_std()
                .unwrap_or(Duration::ZERO),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "event loop lag: {:.3}, running tasks: {}, at {}",
            self.lag.as_secs_f64(),
            self.tasks,
            self.data_at.format("%Y-%m-%d %H:%M:%S%.6f%:z"),
        )
    }
}
