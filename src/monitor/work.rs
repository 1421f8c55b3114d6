//! The future of a run, which whoever stops the run drops.
//!
//! A stopped run may not be polled for a long time: its runtime is stuck, or is not driven, or its
//! caller waits for something else. What it holds must be free at once all the same, for the next.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::future::{AbortHandle, AbortRegistration, Abortable, BoxFuture};

pub(super) struct Work {
    slot: Mutex<Slot>,
    /// Wakes whoever drives it.
    abort: AbortHandle,
}

enum Slot {
    Waiting(BoxFuture<'static, ()>),
    /// It has been taken out, so that nobody waits for the poll to end.
    Polled,
    Stopped,
}

impl Work {
    /// Work to be done, and what [`drive`](Self::drive) takes.
    pub(super) fn new(future: BoxFuture<'static, ()>) -> (Work, AbortRegistration) {
        let (abort, registration) = AbortHandle::new_pair();
        let slot = Mutex::new(Slot::Waiting(future));
        (Work { slot, abort }, registration)
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the future: now, or, if it is being polled, right after that.
    pub(super) fn stop(&self) {
        let stopped = mem::replace(&mut *self.slot(), Slot::Stopped);
        drop(stopped);
        self.abort.abort();
    }

    /// Does the work until it is done or stopped.
    pub(super) async fn drive(&self, registration: AbortRegistration) {
        let working = poll_fn(|cx| self.poll(cx));
        Abortable::new(working, registration).await.ok();
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = self.slot();
        let Slot::Waiting(mut future) = mem::replace(&mut *slot, Slot::Polled) else {
            *slot = Slot::Stopped;
            return Poll::Ready(());
        };
        drop(slot);
        let polled = future.as_mut().poll(cx);
        let mut slot = self.slot();
        match *slot {
            Slot::Polled if polled.is_pending() => {
                *slot = Slot::Waiting(future);
                Poll::Pending
            }
            _ => {
                *slot = Slot::Stopped;
                drop(slot);
                drop(future);
                Poll::Ready(())
            }
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
    fn endless() -> (Work, AbortRegistration, Arc<()>) {
        let token = Arc::new(());
        let held = Arc::clone(&token);
        let (work, registration) = Work::new(Box::pin(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        (work, registration, token)
    }

    #[test]
    fn stopping_drops_what_nobody_polls() {
        let (work, registration, token) = endless();
        let mut driving = task::spawn(work.drive(registration));
        assert_pending!(driving.poll());
        work.stop();
        assert_eq!(Arc::strong_count(&token), 1);
        assert!(driving.is_woken());
        assert_ready!(driving.poll());
    }

    #[test]
    fn stopping_before_the_first_poll_is_not_lost() {
        let (work, registration, token) = endless();
        work.stop();
        work.stop();
        assert_eq!(Arc::strong_count(&token), 1);
        assert_ready!(task::spawn(work.drive(registration)).poll());
    }

    #[test]
    fn work_that_stops_itself_is_dropped_after_the_poll() {
        let token = Arc::new(());
        let held = Arc::clone(&token);
        let work = Arc::new(std::sync::OnceLock::<Work>::new());
        let own = Arc::downgrade(&work);
        let (made, registration) = Work::new(Box::pin(async move {
            let work = own.upgrade().unwrap();
            work.get().unwrap().stop();
            assert_eq!(Arc::strong_count(&held), 2);
            drop(work);
            std::future::pending::<()>().await;
        }));
        work.set(made).unwrap();
        let work = work.get().unwrap();
        assert_ready!(task::spawn(work.drive(registration)).poll());
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
