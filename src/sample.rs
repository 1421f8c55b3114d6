//! One periodic measurement. Who takes it is in `monitor`, how lag is measured in `sampler`.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// One periodic measurement of a monitored runtime.
///
/// `Display` prints one line for logs and terminals:
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
/// With the `serde` feature it can be serialised, with `lag` in serde's own form of a [`Duration`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sample {
    /// How long a ready task waited to run. Monotonic; never negative.
    pub lag: Duration,
    /// The number of live tasks of the runtime, without loopmon's own.
    ///
    /// Tokio counts neither the tasks of a `LocalSet` nor the future given to `block_on`. On `multi_thread`
    /// the number may be off by loopmon's tasks that begin or end at that moment, which are calls of
    /// callbacks.
    pub tasks: usize,
    /// When the sample was taken, by the wall clock.
    ///
    /// Adapters do not use this for a monitor's samples, which also carry the time of a monotonic clock.
    /// Other samples, made by [`Sample::new`] or read from a file, have only this.
    pub data_at: DateTime<Utc>,
    /// The number of tasks in the runtime's global queue.
    #[cfg_attr(feature = "serde", serde(default))]
    pub queue_depth: usize,
    /// The share of all workers' time spent busy since the previous sample, `0.0..=1.0`.
    ///
    /// Tokio publishes a worker's busy time when the worker parks, and every 61 turns or so. So a worker
    /// that is stuck in one poll counts as idle until it returns, and all of that time counts as busy then.
    /// Zero on targets without 64-bit atomics, where Tokio does not measure it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub busy: f64,
    /// How many samples this reader lost just before this one, because it was too slow.
    #[cfg_attr(feature = "serde", serde(default))]
    pub missed: u64,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) taken: Taken,
}

/// When a monitor took the sample, on Tokio's clock.
///
/// It does not take part in comparisons: samples with equal public fields are equal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken(pub(crate) Option<Instant>);

impl PartialEq for Taken {
    fn eq(&self, _: &Taken) -> bool {
        true
    }
}

impl Sample {
    /// A sample with the given fields and zero in the others, for tests and for your own streams.
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

    /// The time from `earlier` to this sample; zero if this one is the earlier.
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
