//! A value that one run uses after another, each alone. No thread blocks for it.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Poll;

use crate::sync::Lock;
use crate::waiting::WaitList;

/// A value that has one user at a time. Clones share the value.
#[derive(Debug)]
pub(super) struct Exclusive<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    value: Lock<Option<T>>,
    waiting: WaitList,
}

impl<T> Exclusive<T> {
    pub(super) fn new(value: T) -> Exclusive<T> {
        Exclusive(Arc::new(Shared {
            value: Lock::new(Some(value)),
            waiting: WaitList::default(),
        }))
    }

    /// Takes the value if it is not in use.
    pub(super) fn try_take(&self) -> Option<Lease<T>> {
        let value = self.0.value.with(Option::take)?;
        Some(Lease {
            value: Some(value),
            owner: self.clone(),
        })
    }

    /// Takes the value as soon as it is not in use.
    pub(super) async fn take(&self) -> Lease<T> {
        if let Some(lease) = self.try_take() {
            return lease;
        }
        let mut waiter = self.0.waiting.waiter();
        poll_fn(|cx| {
            waiter.register(cx.waker());
            self.try_take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl<T> Clone for Exclusive<T> {
    fn clone(&self) -> Exclusive<T> {
        Exclusive(Arc::clone(&self.0))
    }
}

/// The right to use the value. Dropping this returns it.
#[derive(Debug)]
pub(super) struct Lease<T> {
    /// Holds the value until this is dropped.
    value: Option<T>,
    owner: Exclusive<T>,
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
            .as_ref()
            .expect("the value is there until this is dropped")
    }
}

impl<T> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
            .as_mut()
            .expect("the value is there until this is dropped")
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        let Shared { value, waiting } = &*self.owner.0;
        value.with(|place| *place = self.value.take());
        waiting.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn one_user_after_another_has_it() {
        let exclusive = Exclusive::new(7);
        let mut lease = exclusive.try_take().unwrap();
        *lease += 1;
        assert!(exclusive.try_take().is_none());
        let mut waiting = task::spawn(exclusive.take());
        assert_pending!(waiting.poll());
        drop(lease);
        assert_eq!(*assert_ready!(waiting.poll()), 8);
    }
}
