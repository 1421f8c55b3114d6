//! The future of a run, which whoever stops the run drops.
//!
//! A stopped run may not be polled for a long time: its runtime is stuck, or is not driven, or its
//! caller waits for something else. What it holds must be free at once all the same, for the next.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

use crate::foreign;
use crate::sync::Lock;
use crate::waiting::Waiting;

pub(super) struct Work {
    slot: Lock<Slot>,
    /// Whoever drives it, until it is stopped.
    driving: Waiting,
}

enum Slot {
    Waiting(BoxFuture<'static, ()>),
    /// It is not there yet, or it has been taken out, so that nobody waits for the poll to end.
    Polled,
    Stopped,
}

impl Default for Work {
    fn default() -> Work {
        Work {
            slot: Lock::new(Slot::Polled),
            driving: Waiting::default(),
        }
    }
}

impl Work {
    /// Gives it what is to be done, unless it has been stopped.
    pub(super) fn begin(&self, future: BoxFuture<'static, ()>) {
        let mut future = Some(future);
        self.slot.with(|slot| {
            if let Slot::Polled = slot {
                *slot = future.take().map_or(Slot::Stopped, Slot::Waiting);
            }
        });
        foreign::discard(future);
    }

    fn replace(&self, slot: Slot) -> Slot {
        self.slot.with(|present| mem::replace(present, slot))
    }

    /// Drops the future: now, or, if it is being polled, right after that.
    pub(super) fn stop(&self) {
        foreign::discard(self.replace(Slot::Stopped));
        self.driving.wake_all();
    }

    /// Does the work until it is done or stopped.
    pub(super) async fn drive(&self) {
        let mut seat = self.driving.seat();
        poll_fn(|cx| {
            // First, so that a stop is not missed.
            seat.wait(cx.waker());
            self.poll(cx)
        })
        .await;
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let taken = self.slot.with(|slot| match slot {
            Slot::Waiting(_) => mem::replace(slot, Slot::Polled),
            Slot::Polled | Slot::Stopped => mem::replace(slot, Slot::Stopped),
        });
        let Slot::Waiting(mut future) = taken else {
            return Poll::Ready(());
        };
        let polled = foreign::call(|| future.as_mut().poll(cx));
        let mut future = Some(future);
        let pending = self.slot.with(|slot| {
            let pending = matches!((&*slot, &polled), (Slot::Polled, Ok(Poll::Pending)));
            *slot = match future.take_if(|_| pending) {
                Some(future) => Slot::Waiting(future),
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

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    /// Work that never ends, and a count that is one when it has been dropped.
    fn endless() -> (Work, Arc<()>) {
        let token = Arc::new(());
        let held = Arc::clone(&token);
        let work = Work::default();
        work.begin(Box::pin(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        (work, token)
    }

    #[test]
    fn stopping_drops_what_nobody_polls() {
        let (work, token) = endless();
        let mut driving = task::spawn(work.drive());
        assert_pending!(driving.poll());
        work.stop();
        assert_eq!(Arc::strong_count(&token), 1);
        // By another thread, as this waker is not known.
        while !driving.is_woken() {
            std::thread::yield_now();
        }
        assert_ready!(driving.poll());
    }

    #[test]
    fn stopping_before_the_first_poll_is_not_lost() {
        let (work, token) = endless();
        work.stop();
        work.stop();
        assert_eq!(Arc::strong_count(&token), 1);
        assert_ready!(task::spawn(work.drive()).poll());
    }

    #[test]
    fn work_that_stops_itself_is_dropped_after_the_poll() {
        let token = Arc::new(());
        let held = Arc::clone(&token);
        let work = Arc::new(std::sync::OnceLock::<Work>::new());
        let own = Arc::downgrade(&work);
        let made = Work::default();
        made.begin(Box::pin(async move {
            let work = own.upgrade().unwrap();
            work.get().unwrap().stop();
            assert_eq!(Arc::strong_count(&held), 2);
            drop(work);
            std::future::pending::<()>().await;
        }));
        work.set(made).unwrap();
        let work = work.get().unwrap();
        assert_ready!(task::spawn(work.drive()).poll());
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
