//! Whether somebody wants to know of stalls, and the watch that is kept for them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::stalls::Stalls;
use crate::broadcast::Publisher;
use crate::stall::Stall;
use crate::watchdog::Watch;

/// Shared by the streams of one channel. While the monitor is attached it has the watch, which ends
/// with the last of the streams.
#[derive(Debug, Default)]
pub(super) struct Interest(Mutex<Option<Watch>>);

impl Interest {
    fn watch(&self) -> MutexGuard<'_, Option<Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The channel of stalls of the present or the next run.
#[derive(Debug)]
pub(super) struct Channel {
    publisher: Arc<Publisher<Stall>>,
    interest: Weak<Interest>,
}

impl Channel {
    pub(super) fn subscribe(&self) -> Option<Stalls> {
        let interest = self.interest.upgrade()?;
        Some(Stalls::new(self.publisher.subscribe(), interest))
    }

    pub(super) fn open(capacity: usize) -> (Channel, Stalls) {
        let publisher = Arc::new(Publisher::new(capacity));
        let interest = Arc::default();
        let channel = Channel {
            publisher: Arc::clone(&publisher),
            interest: Arc::downgrade(&interest),
        };
        (channel, Stalls::new(publisher.subscribe(), interest))
    }

    /// Has a watch kept, if somebody wants it and there is none.
    pub(super) fn keep_watch(
        &self,
        start: impl FnOnce(Arc<Publisher<Stall>>) -> io::Result<Watch>,
    ) -> io::Result<()> {
        if let Some(interest) = self.interest.upgrade() {
            let mut watch = interest.watch();
            if watch.is_none() {
                *watch = Some(start(Arc::clone(&self.publisher))?);
            }
        }
        Ok(())
    }

    /// Ends the streams: after a last look, if there is a watch.
    pub(super) fn end(self) {
        let interest = self.interest.upgrade();
        match interest.and_then(|interest| interest.watch().take()) {
            Some(watch) => drop(watch),
            None => self.publisher.close(),
        }
    }
}
