//! Observes all workers of a runtime at once, to learn which thread runs which.
//!
//! A worker that is free takes a task. So with as many tasks as workers, each of which holds its worker
//! until all have one, each worker has one. A single task would observe the same few workers again and
//! again. Tasks record what they observe by themselves: `runtime/task_tracker.rs`.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long the other workers are held for one that does not come.
const LONGEST_HOLD: Duration = Duration::from_millis(1);

/// Tokio wakes one worker after the other.
const HOLD_PER_WORKER: Duration = Duration::from_micros(50);

#[derive(Debug)]
pub(in crate::watchdog) struct WorkerBarrier {
    longest_hold: Duration,
    missing: Mutex<usize>,
    complete: Condvar,
}

impl WorkerBarrier {
    pub(in crate::watchdog) fn new(workers: usize) -> Arc<WorkerBarrier> {
        let per_worker = HOLD_PER_WORKER.saturating_mul(u32::try_from(workers).unwrap_or(u32::MAX));
        Arc::new(WorkerBarrier {
            longest_hold: LONGEST_HOLD.max(per_worker),
            missing: Mutex::new(workers),
            complete: Condvar::new(),
        })
    }

    /// Called by each of the tasks.
    pub(in crate::watchdog) fn wait(&self) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            self.complete.notify_all();
            return;
        }
        let waited = self
            .complete
            .wait_timeout_while(missing, self.longest_hold, |missing| *missing > 0);
        // A task that comes later must not wait.
        *waited.unwrap_or_else(PoisonError::into_inner).0 = 0;
    }
}
