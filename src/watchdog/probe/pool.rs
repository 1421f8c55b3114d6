//! Whether a runtime's blocking pool has a thread to spare. What that means: `verdict.rs`.

use std::fs::File;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;
use tokio::runtime::Handle;

/// A short piece of work for the pool: to write a byte to `/dev/null`.
///
/// `block_in_place` hands its worker to the same pool, first come, first served. So while this work is not
/// done, the worker waits as well.
///
/// Tokio writes to files by way of the pool. Unlike `spawn_blocking`, that does not panic where the system
/// refuses the pool a thread.
#[derive(Debug, Default)]
pub(in crate::watchdog) struct PoolProbe(Option<tokio::fs::File>);

impl PoolProbe {
    pub(in crate::watchdog) fn ask(&mut self, runtime: &Handle) {
        if self.0.is_some() {
            return;
        }
        let Ok(nowhere) = File::options().write(true).open("/dev/null") else {
            return;
        };
        let _entered = runtime.enter();
        let mut file = tokio::fs::File::from_std(nowhere);
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(_)) = Pin::new(&mut file).poll_write(&mut cx, b"\n") {
            self.0 = Some(file);
        }
    }

    /// Whether the work was given to the pool, and is not done.
    pub(in crate::watchdog) fn waits(&mut self, runtime: &Handle) -> bool {
        let Some(file) = &mut self.0 else {
            return false;
        };
        let _entered = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(file).poll_flush(&mut cx).is_pending()
    }
}
