//! The future of a run. Stopping the run drops the future, without a poll. What the future does is in `run.rs`.
//!
//! A stopped run may not be polled for a long time: its runtime is stuck or not driven, or its caller waits for
//! something else. But the next run needs at once what the future holds.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

use crate::foreign;
use crate::sync::Lock;
use crate::waiting::WaitList;

pub(super) struct RunFuture {
    slot: Lock<Slot>,
    /// Wakes the driver when the run is stopped.
    driving: WaitList,
}

enum Slot {
    Idle(BoxFuture<'static, ()>),
    /// The future is not set yet, or it is out of its slot for a poll, so that `stop` need not wait for the
    /// poll to end.
    Polled,
    Stopped,
}

impl Default for RunFuture {
    fn default() -> RunFuture {
        RunFuture {
            slot: Lock::new(Slot::Polled),
            driving: WaitList::default(),
        }
    }
}

impl RunFuture {
    /// Sets the future, unless it has been stopped.
    pub(super) fn set(&self, future: BoxFuture<'static, ()>) {
        let mut future = Some(future);
        self.slot.with(|slot| {
            if let Slot::Polled = slot {
                *slot = future.take().map_or(Slot::Stopped, Slot::Idle);
            }
        });
        foreign::discard(future);
    }

    fn replace(&self, slot: Slot) -> Slot {
        self.slot.with(|present| mem::replace(present, slot))
    }

    /// Drops the future at once, or right after its poll.
    pub(super) fn stop(&self) {
        foreign::discard(self.replace(Slot::Stopped));
        self.driving.wake_all();
    }

    /// Polls the future until it is done or stopped.
    pub(super) async fn drive(&self) {
        let mut waiter = self.driving.waiter();
        poll_fn(|cx| {
            // Before the check, so that a stop is not missed.
            waiter.register(cx.waker());
            self.poll(cx)
        })
        .await;
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let taken = self.slot.with(|slot| match slot {
            Slot::Idle(_) => mem::replace(slot, Slot::Polled),
            Slot::Polled | Slot::Stopped => mem::replace(slot, Slot::Stopped),
        });
        let Slot::Idle(mut future) = taken else {
            return Poll::Ready(());
        };
        let polled = foreign::call(|| future.as_mut().poll(cx));
        let mut future = Some(future);
        let pending = self.slot.with(|slot| {
            let pending = matches!((&*slot, &polled), (Slot::Polled, Ok(Poll::Pending)));
            *slot = match future.take_if(|_| pending) {
                Some(future) => Slot::Idle(future),
                None => Slot::Stopped,
            };
            pending
        });
        foreign::discard(future);
        if let Err(panic) = polled {
            panic.resume();
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl fmt::Debug for RunFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    /// Returns a future that never ends, and a count that is one when it has been dropped.
    fn endless() -> (RunFuture, Arc<()>) {
        let token = Arc::new(());
        let held = Arc::clone(&token);
        let run = RunFuture::default();
        run.set(Box::pin(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        (run, token)
    }

    #[test]
    fn stopping_drops_what_nobody_polls() {
        let (run, token) = endless();
        let mut driving = task::spawn(run.drive());
        assert_pending!(driving.poll());
        run.stop();
        assert_eq!(Arc::strong_count(&token), 1);
        // Another thread wakes it, as this waker is not known.
        while !driving.is_woken() {
            std::thread::yield_now();
        }
        assert_ready!(driving.poll());
    }

    #[test]
    fn stopping_before_the_first_poll_is_not_lost() {
        let (run, token) = endless();
        run.stop();
        run.stop();
        assert_eq!(Arc::strong_count(&token), 1);
        assert_ready!(task::spawn(run.drive()).poll());
    }

    #[test]
    fn a_future_that_stops_itself_is_dropped_after_the_poll() {
        let token = Arc::new(());
        let held = Arc::clone(&token);
        let run = Arc::new(std::sync::OnceLock::<RunFuture>::new());
        let own = Arc::downgrade(&run);
        let made = RunFuture::default();
        made.set(Box::pin(async move {
            let run = own.upgrade().unwrap();
            run.get().unwrap().stop();
            assert_eq!(Arc::strong_count(&held), 2);
            drop(run);
            std::future::pending::<()>().await;
        }));
        run.set(made).unwrap();
        let run = run.get().unwrap();
        assert_ready!(task::spawn(run.drive()).poll());
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
