//! The channel of stalls of one run. Stalls are detected while it has readers: `stalls.rs`.

use std::io;
use std::sync::{Arc, Weak};

use super::stalls::{SharedWatch, Stalls, WatchKind};
use crate::watchdog::{Outlet, Watch};

/// The channel of stalls of the present or the next run.
#[derive(Debug)]
pub(super) struct Channel {
    outlet: Arc<Outlet>,
    watch: Weak<SharedWatch>,
}

/// The channel in the hands of somebody who wants its stalls.
#[derive(Debug, Clone)]
pub(super) struct Post {
    outlet: Arc<Outlet>,
    watch: Arc<SharedWatch>,
}

impl Channel {
    /// `None` if the channel has no readers, or has ended.
    pub(super) fn post(&self) -> Option<Post> {
        let watch = self.watch.upgrade()?;
        let has_ended = watch.has_ended();
        let post = Post {
            outlet: Arc::clone(&self.outlet),
            watch,
        };
        (!has_ended).then_some(post)
    }

    /// Ends the streams. If there is a watch, the watchdog looks a last time before.
    pub(super) fn end(self) {
        match self.post() {
            Some(post) => post.end(),
            None => self.outlet.close_if_unwatched(),
        }
    }
}

impl Post {
    pub(super) fn open(outlet: Outlet) -> Post {
        Post {
            outlet: Arc::new(outlet),
            watch: Arc::default(),
        }
    }

    pub(super) fn channel(&self) -> Channel {
        Channel {
            outlet: Arc::clone(&self.outlet),
            watch: Arc::downgrade(&self.watch),
        }
    }

    pub(super) fn subscribe(&self) -> Stalls {
        Stalls::new(self.outlet.subscribe(), Arc::clone(&self.watch))
    }

    /// Begins to detect the stalls of a runtime or of futures, unless that has begun.
    pub(super) fn ensure_started(
        &self,
        kind: WatchKind,
        start: impl FnOnce(Arc<Outlet>) -> io::Result<Watch>,
    ) -> io::Result<()> {
        self.watch.ensure_started(kind, &self.outlet, start)
    }

    /// Ends the streams. If there is a watch, the watchdog looks a last time before.
    pub(super) fn end(&self) {
        self.watch.end(&self.outlet);
    }
}
