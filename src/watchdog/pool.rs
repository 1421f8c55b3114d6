//! Whether a runtime's blocking pool has a thread to spare.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A piece of work that the pool was asked to do, of no length at all.
///
/// `block_in_place` hands its worker to the same pool, first come, first served: if this is not
/// done, the worker is waiting as well.
#[derive(Debug, Default)]
pub(super) struct PoolProbe(Option<JoinHandle<()>>);

impl PoolProbe {
    pub(super) fn ask(&mut self, runtime: &Handle) {
        if !self.is_waiting() {
            // Tokio panics if the system refuses the pool its first thread.
            self.0 = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(|| ()))).ok();
        }
    }

    /// It was asked, and no thread has come for it since.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| !asked.is_finished())
    }
}
