//! Meets all workers of a runtime at once, to learn which thread runs which.
//!
//! A worker that is free takes a task; so with as many tasks as workers, each of which holds its
//! worker until all have met, each worker has one. A single probe would meet the same few workers
//! again and again.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A worker that does not come is not waited for longer than this.
const LONGEST_HOLD: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(in crate::watchdog) struct WorkerBarrier {
    missing: Mutex<usize>,
    complete: Condvar,
}

impl WorkerBarrier {
    pub(in crate::watchdog) fn new(workers: usize) -> Arc<WorkerBarrier> {
        Arc::new(WorkerBarrier {
            missing: Mutex::new(workers),
            complete: Condvar::new(),
        })
    }

    /// What each of the tasks is to do.
    pub(in crate::watchdog) fn meet(&self) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            self.complete.notify_all();
            return;
        }
        let waited = self
            .complete
            .wait_timeout_while(missing, LONGEST_HOLD, |missing| *missing > 0);
        // Whoever comes later holds its worker for nothing.
        *waited.unwrap_or_else(PoisonError::into_inner).0 = 0;
    }
}
