//! Readers that have gone while they were far behind.
//!
//! A receiver that is dropped goes through all that it has not read, while the channel is locked: for
//! a million samples some 50 ms, for which everybody else waits. So it is read to its end first, in
//! small steps: by whoever publishes, as whoever drops it would contend with them for the lock.

use std::sync::Arc;

use async_broadcast::{Receiver, TryRecvError};

use crate::sync::Lock;

/// How much is read in one go: some microseconds.
const STEP: usize = 128;

/// Those of one channel. Clones are the same.
#[derive(Debug)]
pub(super) struct Leavers<T>(Arc<Lock<List<T>>>);

/// A list, as its links are allocated while nothing is locked.
type List<T> = Option<Box<Leaver<T>>>;

#[derive(Debug)]
struct Leaver<T> {
    receiver: Receiver<T>,
    next: List<T>,
}

/// One after another: a long list would drop itself too deeply.
impl<T> Drop for Leaver<T> {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut leaver) = next {
            next = leaver.next.take();
        }
    }
}

impl<T> Clone for Leavers<T> {
    fn clone(&self) -> Leavers<T> {
        Leavers(Arc::clone(&self.0))
    }
}

impl<T> Default for Leavers<T> {
    fn default() -> Leavers<T> {
        Leavers(Arc::new(Lock::new(None)))
    }
}

impl<T: Clone> Leavers<T> {
    /// Drops it now, or later if there is much that it has not read.
    pub(super) fn leave(&self, mut receiver: Receiver<T>) {
        if !read(&mut receiver) {
            self.push(Box::new(Leaver {
                receiver,
                next: None,
            }));
        }
    }

    /// Takes the next step.
    pub(super) fn go_on(&self) {
        let first = self.0.with(|list| {
            let mut first = list.take()?;
            *list = first.next.take();
            Some(first)
        });
        if let Some(mut leaver) = first {
            if !read(&mut leaver.receiver) {
                self.push(leaver);
            }
        }
    }

    fn push(&self, mut leaver: Box<Leaver<T>>) {
        self.0.with(|list| {
            leaver.next = list.take();
            *list = Some(leaver);
        });
    }
}

/// One step. Returns whether it has read all.
fn read<T: Clone>(receiver: &mut Receiver<T>) -> bool {
    (0..STEP).any(|_| {
        let read = receiver.try_recv();
        matches!(read, Err(TryRecvError::Empty | TryRecvError::Closed))
    })
}
