//! Observes all workers of a runtime at once, to learn which thread runs which.
//!
//! A worker that is free takes a task. So with as many tasks as workers, each of which holds its worker
//! until all have one, each worker has one. A single task would observe the same few workers again and
//! again. Tasks record what they observe by themselves: `runtime/task_tracker.rs`.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long the other workers are held for one that does not come: as Tokio wakes one worker after the other, the
/// longer, the more there are.
const PER_WORKER: Duration = Duration::from_micros(50);
const SHORTEST_HOLD: Duration = Duration::from_millis(1);
const LONGEST_HOLD: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(in crate::watchdog) struct WorkerBarrier {
    hold: Duration,
    missing: Mutex<usize>,
    complete: Condvar,
}

impl WorkerBarrier {
    /// The workers are held for a fifth of the threshold at most, so that this is no stall.
    pub(in crate::watchdog) fn new(workers: usize, threshold: Duration) -> Arc<WorkerBarrier> {
        let hold = PER_WORKER.saturating_mul(u32::try_from(workers).unwrap_or(u32::MAX));
        let longest = LONGEST_HOLD.min(threshold / 5).max(SHORTEST_HOLD);
        Arc::new(WorkerBarrier {
            hold: hold.clamp(SHORTEST_HOLD, longest),
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
            .wait_timeout_while(missing, self.hold, |missing| *missing > 0);
        // Nobody waits longer than the first, and a task that comes later does not wait.
        *waited.unwrap_or_else(PoisonError::into_inner).0 = 0;
        self.complete.notify_all();
    }
}
