//! Whether a runtime's blocking pool has a thread to spare.

use std::fs::File;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;
use tokio::runtime::Handle;

/// A piece of work that the pool was asked to do, of next to no length: a byte for `/dev/null`.
///
/// `block_in_place` hands its worker to the same pool, first come, first served: if this is not
/// done, the worker is waiting as well.
///
/// A file is written to by way of the pool, and unlike `spawn_blocking` this does not panic where the
/// system refuses the pool a thread.
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

    /// It was asked, and no thread has come for it since.
    pub(in crate::watchdog) fn waits(&mut self, runtime: &Handle) -> bool {
        let Some(file) = &mut self.0 else {
            return false;
        };
        let _entered = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(file).poll_flush(&mut cx).is_pending()
    }
}
