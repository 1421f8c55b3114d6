//! The channel of stalls of one run. Stalls are detected while it has readers: `stalls.rs`.

use std::io;
use std::sync::{Arc, Weak};

use super::stalls::{SharedWatch, Stalls};
use crate::broadcast::Publisher;
use crate::stall::Stall;
use crate::watchdog::Watch;

/// The channel of stalls of the present or the next run.
#[derive(Debug)]
pub(super) struct Channel {
    publisher: Arc<Publisher<Stall>>,
    watch: Weak<SharedWatch>,
}

/// The channel in the hands of somebody who wants its stalls.
#[derive(Debug, Clone)]
pub(super) struct Post {
    publisher: Arc<Publisher<Stall>>,
    watch: Arc<SharedWatch>,
}

impl Channel {
    /// `None` if the channel has no readers, or has ended.
    pub(super) fn post(&self) -> Option<Post> {
        let watch = self.watch.upgrade()?;
        let has_ended = watch.has_ended();
        let post = Post {
            publisher: Arc::clone(&self.publisher),
            watch,
        };
        (!has_ended).then_some(post)
    }

    /// Ends the streams. If there is a watch, the watchdog looks a last time before.
    pub(super) fn end(self) {
        match self.post() {
            Some(post) => post.end(),
            None => self.publisher.close(),
        }
    }
}

impl Post {
    pub(super) fn open(capacity: usize) -> Post {
        Post {
            publisher: Arc::new(Publisher::new(capacity)),
            watch: Arc::default(),
        }
    }

    pub(super) fn channel(&self) -> Channel {
        Channel {
            publisher: Arc::clone(&self.publisher),
            watch: Arc::downgrade(&self.watch),
        }
    }

    pub(super) fn subscribe(&self) -> Stalls {
        Stalls::new(self.publisher.subscribe(), Arc::clone(&self.watch))
    }

    /// Begins to detect stalls, unless that has begun.
    pub(super) fn ensure_started(
        &self,
        start: impl FnOnce(Arc<Publisher<Stall>>) -> io::Result<Watch>,
    ) -> io::Result<()> {
        self.watch.ensure_started(&self.publisher, start)
    }

    /// Ends the streams. If there is a watch, the watchdog looks a last time before.
    pub(super) fn end(&self) {
        self.watch.end(&self.publisher);
    }
}
