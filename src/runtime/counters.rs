//! What Tokio counts of each worker. It does so only where there are 64-bit atomics, and no other file has to
//! know: all gates for that are here. What the counters mean: `watchdog/detector.rs`.

use std::time::Duration;

use tokio::runtime::RuntimeMetrics;

/// Whether Tokio counts anything here.
pub(crate) const ARE_PUBLISHED: bool = cfg!(target_has_atomic = "64");

/// What Tokio publishes of a worker whenever that parks, comes back from it, or has taken some 61 turns
/// without parking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WorkerCounters {
    pub(crate) parks_and_unparks: u64,
    pub(crate) busy: Duration,
}

impl WorkerCounters {
    /// Reads the counters of a worker. Takes no lock.
    #[cfg(target_has_atomic = "64")]
    pub(crate) fn of(metrics: &RuntimeMetrics, worker: usize) -> WorkerCounters {
        WorkerCounters {
            parks_and_unparks: metrics.worker_park_unpark_count(worker),
            busy: metrics.worker_total_busy_duration(worker),
        }
    }

    #[cfg(not(target_has_atomic = "64"))]
    pub(crate) fn of(_: &RuntimeMetrics, _: usize) -> WorkerCounters {
        WorkerCounters::default()
    }

    pub(crate) fn is_parked(self) -> bool {
        self.parks_and_unparks % 2 == 1
    }
}

/// The busy time of all workers together.
pub(crate) fn total_busy(metrics: &RuntimeMetrics) -> Duration {
    let workers = 0..metrics.num_workers();
    workers
        .map(|worker| WorkerCounters::of(metrics, worker).busy)
        .sum()
}
