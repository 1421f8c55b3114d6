//! Something that one after another uses, each alone, and nobody blocks for.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Poll;

use crate::sync::Lock;
use crate::waiting::Waiting;

/// Where it is while nobody uses it. Clones are the same.
#[derive(Debug)]
pub(super) struct Lender<T>(Arc<Home<T>>);

#[derive(Debug)]
struct Home<T> {
    thing: Lock<Option<T>>,
    waiting: Waiting,
}

impl<T> Lender<T> {
    pub(super) fn new(thing: T) -> Lender<T> {
        Lender(Arc::new(Home {
            thing: Lock::new(Some(thing)),
            waiting: Waiting::default(),
        }))
    }

    /// If nobody uses it.
    pub(super) fn try_take(&self) -> Option<Lent<T>> {
        let thing = self.0.thing.with(Option::take)?;
        Some(Lent {
            thing: Some(thing),
            home: self.clone(),
        })
    }

    /// Once nobody uses it.
    pub(super) async fn take(&self) -> Lent<T> {
        if let Some(lent) = self.try_take() {
            return lent;
        }
        let mut seat = self.0.waiting.seat();
        poll_fn(|cx| {
            seat.wait(cx.waker());
            self.try_take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl<T> Clone for Lender<T> {
    fn clone(&self) -> Lender<T> {
        Lender(Arc::clone(&self.0))
    }
}

/// In use. It goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Lent<T> {
    /// Until then.
    thing: Option<T>,
    home: Lender<T>,
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing
            .as_ref()
            .expect("it is there until this is dropped")
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing
            .as_mut()
            .expect("it is there until this is dropped")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        let Home { thing, waiting } = &*self.home.0;
        thing.with(|home| *home = self.thing.take());
        waiting.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn one_after_another_has_it() {
        let lender = Lender::new(7);
        let mut lent = lender.try_take().unwrap();
        *lent += 1;
        assert!(lender.try_take().is_none());
        let mut waiting = task::spawn(lender.take());
        assert_pending!(waiting.poll());
        drop(lent);
        assert_eq!(*assert_ready!(waiting.poll()), 8);
    }
}
