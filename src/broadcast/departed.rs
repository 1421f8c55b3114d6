//! Receivers of readers that were dropped while they were far behind.
//!
//! `async-broadcast` drops a receiver by going through all its unread items while the channel is locked. For a
//! million samples that takes some 50 ms, during which all other users of the channel wait. So the receiver is
//! first read to its end, in small steps. The publisher does this, as a dropping thread would contend with it
//! for the lock.

use std::sync::Arc;

use async_broadcast::{Receiver, TryRecvError};

use crate::sync::Lock;

/// How many items one step reads. It takes some microseconds.
const STEP: usize = 128;

/// The receivers of one channel. Clones are the same list.
#[derive(Debug)]
pub(super) struct Departed<T>(Arc<Lock<List<T>>>);

/// A linked list, because its links can be allocated while nothing is locked.
type List<T> = Option<Box<Link<T>>>;

#[derive(Debug)]
struct Link<T> {
    receiver: Receiver<T>,
    next: List<T>,
}

/// Drops the links in a loop: to drop a long list recursively could overflow the stack.
impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut link) = next {
            next = link.next.take();
        }
    }
}

impl<T> Clone for Departed<T> {
    fn clone(&self) -> Departed<T> {
        Departed(Arc::clone(&self.0))
    }
}

impl<T> Default for Departed<T> {
    fn default() -> Departed<T> {
        Departed(Arc::new(Lock::new(None)))
    }
}

impl<T: Clone> Departed<T> {
    /// Drops the receiver now, or later if it is far behind.
    pub(super) fn add(&self, mut receiver: Receiver<T>) {
        if !read(&mut receiver) {
            self.push(Box::new(Link {
                receiver,
                next: None,
            }));
        }
    }

    /// Reads one step of one receiver, and drops it if it has reached its end.
    pub(super) fn read_some(&self) {
        let first = self.0.with(|list| {
            let mut first = list.take()?;
            *list = first.next.take();
            Some(first)
        });
        if let Some(mut link) = first {
            if !read(&mut link.receiver) {
                self.push(link);
            }
        }
    }

    fn push(&self, mut link: Box<Link<T>>) {
        self.0.with(|list| {
            link.next = list.take();
            *list = Some(link);
        });
    }
}

/// Reads one step. Returns whether the receiver has reached its end.
fn read<T: Clone>(receiver: &mut Receiver<T>) -> bool {
    (0..STEP).any(|_| {
        let read = receiver.try_recv();
        matches!(read, Err(TryRecvError::Empty | TryRecvError::Closed))
    })
}
