//! Whether a runtime's blocking pool has a thread to spare. What that means: `verdict.rs`.

use std::task::{Context, Waker};

use tokio::runtime::Handle;

use crate::pool_job::PoolJob;
use crate::stack;

/// A short job for the pool.
///
/// `block_in_place` hands its worker to the same pool, first come, first served. So while this job is not
/// done, the worker waits as well.
#[derive(Debug, Default)]
pub(in crate::watchdog) struct PoolProbe(Option<PoolJob>);

impl PoolProbe {
    pub(in crate::watchdog) fn ask(&mut self, runtime: &Handle) {
        if self.0.is_some() {
            return;
        }
        let _entered = runtime.enter();
        let mut job = PoolJob::new().ok();
        // The pool may start a thread for it.
        self.0 = job.take_if(|job| stack::with_signals(|| job.give()).is_ok());
    }

    /// Whether the job was given to the pool, and is not done.
    pub(in crate::watchdog) fn waits(&mut self, runtime: &Handle) -> bool {
        let Some(job) = &mut self.0 else {
            return false;
        };
        let _entered = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        job.poll_done(&mut cx).is_pending()
    }
}
