//! Whether somebody wants to know of stalls, and the watch that is kept for them.

use std::io;
use std::mem;
use std::sync::{Arc, Weak};

use super::stalls::Stalls;
use crate::broadcast::Publisher;
use crate::foreign;
use crate::stall::Stall;
use crate::sync::Lock;
use crate::watchdog::Watch;

/// Shared by the streams of one channel. While the monitor is attached it has the watch, which ends
/// with the last of the streams.
#[derive(Debug, Default)]
pub(super) struct SharedWatch(Lock<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unwatched,
    /// Somebody is at it, without the lock: to start a watch spawns tasks.
    Starting,
    Watched(Watch),
    /// The monitor has been detached.
    Ended,
}

/// The channel of stalls of the present or the next run.
#[derive(Debug)]
pub(super) struct Channel {
    publisher: Arc<Publisher<Stall>>,
    watch: Weak<SharedWatch>,
}

/// The channel in the hands of somebody who wants to know of stalls.
#[derive(Debug, Clone)]
pub(super) struct Post {
    publisher: Arc<Publisher<Stall>>,
    watch: Arc<SharedWatch>,
}

impl Channel {
    /// `None` if nobody is interested, or it has ended.
    pub(super) fn post(&self) -> Option<Post> {
        let watch = self.watch.upgrade()?;
        let ended = watch.0.with(|state| matches!(state, State::Ended));
        let post = Post {
            publisher: Arc::clone(&self.publisher),
            watch,
        };
        (!ended).then_some(post)
    }

    /// Ends the streams: after a last look, if there is a watch.
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

    /// Has a watch kept, if there is none. If the channel ends meanwhile, so does the watch.
    pub(super) fn keep_watch(
        &self,
        start: impl FnOnce(Arc<Publisher<Stall>>) -> io::Result<Watch>,
    ) -> io::Result<()> {
        let starts = self.watch.0.with(|state| {
            let starts = matches!(state, State::Unwatched);
            if starts {
                *state = State::Starting;
            }
            starts
        });
        if !starts {
            return Ok(());
        }
        // To spawn runs the runtime's hooks, which may panic.
        let started = foreign::call(|| start(Arc::clone(&self.publisher)));
        let (mut watch, failed) = match started {
            Ok(Ok(watch)) => (Some(watch), Ok(Ok(()))),
            Ok(Err(refused)) => (None, Ok(Err(refused))),
            Err(panic) => (None, Err(panic)),
        };
        let ended = self.watch.0.with(|state| {
            let ended = matches!(state, State::Ended);
            if !ended {
                *state = watch.take().map_or(State::Unwatched, State::Watched);
            }
            ended
        });
        if ended && watch.is_none() {
            self.publisher.close();
        }
        // Otherwise this closes the channel.
        drop(watch);
        failed.unwrap_or_else(|panic| panic.resume())
    }

    /// Ends the streams: after a last look, if there is a watch.
    pub(super) fn end(&self) {
        let before = self.watch.0.with(|state| mem::replace(state, State::Ended));
        match before {
            State::Watched(watch) => drop(watch),
            State::Unwatched | State::Ended => self.publisher.close(),
            // Whoever starts it ends it.
            State::Starting => {}
        }
    }
}
