//! Hands over what the watchdog shall watch, and decides when its thread starts and ends. What the watchdog
//! does with it: `thread.rs`.
//!
//! Nobody who holds the lock allocates or runs foreign code, so the watchdog may wait for the lock.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// `T` is watched. `M` is shared with the watchdog while that runs.
#[derive(Debug)]
pub(super) struct Inbox<T, M> {
    state: Mutex<State<T, M>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T, M> {
    /// What the running watchdog shares. `None` if none runs.
    shared: Option<Arc<M>>,
    /// Counts what is about to arrive.
    announced: usize,
    arrived: VecDeque<T>,
    /// Whether something is no longer to be watched.
    has_left: bool,
}

impl<T, M> Inbox<T, M> {
    pub(super) fn new() -> Inbox<T, M> {
        Inbox {
            state: Mutex::new(State {
                shared: None,
                announced: 0,
                arrived: VecDeque::new(),
                has_left: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Hands what `prepare` makes to the watchdog. If none runs, `start` starts it.
    pub(super) fn arrive(
        &self,
        start: impl FnOnce() -> io::Result<Arc<M>>,
        prepare: impl FnOnce(&M) -> T,
    ) -> io::Result<()> {
        let shared = self.announce(start)?;
        let watched = prepare(&shared);
        let mut room = VecDeque::new();
        let mut state = self.lock();
        while state.arrived.len() == state.arrived.capacity() {
            if room.capacity() > state.arrived.len() {
                room.append(&mut state.arrived);
                mem::swap(&mut room, &mut state.arrived);
            } else {
                let needed = 2 * state.arrived.len() + 4;
                drop(state);
                room = VecDeque::with_capacity(needed);
                state = self.lock();
            }
        }
        state.announced -= 1;
        state.arrived.push_back(watched);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Announces an arrival, so that the watchdog does not end. Returns what the watchdog shares.
    fn announce(&self, start: impl FnOnce() -> io::Result<Arc<M>>) -> io::Result<Arc<M>> {
        let mut state = self.lock();
        let shared = match &state.shared {
            Some(shared) => Arc::clone(shared),
            // Only others who want the same wait for the lock.
            None => start()?,
        };
        state.shared = Some(Arc::clone(&shared));
        state.announced += 1;
        Ok(shared)
    }

    /// Wakes the watchdog, as something is no longer to be watched. The thing itself says so.
    pub(super) fn leave(&self) {
        self.lock().has_left = true;
        self.changed.notify_one();
    }

    /// For the watchdog: waits for a change, for `longest` at the most. Returns whether something is no
    /// longer to be watched.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let mut state = self.lock();
        if state.arrived.is_empty() && !state.has_left {
            let waited = self.changed.wait_timeout(state, longest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        mem::take(&mut state.has_left)
    }

    /// For the watchdog: takes the next arrival.
    pub(super) fn next(&self) -> Option<T> {
        self.lock().arrived.pop_front()
    }

    /// For a watchdog with nothing to watch: whether it may end. If not, something arrives.
    pub(super) fn may_end(&self) -> bool {
        let mut state = self.lock();
        if state.announced > 0 || !state.arrived.is_empty() {
            return false;
        }
        state.has_left = false;
        let shared = state.shared.take();
        drop(state);
        drop(shared);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State<T, M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc as LoomArc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use loom::thread;

    use super::*;

    type Item = (usize, LoomArc<AtomicBool>);

    /// Watches until nothing is left, as the watchdog does. Adds all arrivals to `seen`.
    fn watch(inbox: &Inbox<Item, ()>, seen: &AtomicUsize) {
        let mut watched: Vec<Item> = Vec::new();
        loop {
            inbox.wait(Duration::MAX);
            while let Some(item) = inbox.next() {
                seen.fetch_add(item.0, Ordering::SeqCst);
                watched.push(item);
            }
            watched.retain(|(_, left)| !left.load(Ordering::SeqCst));
            if watched.is_empty() && inbox.may_end() {
                return;
            }
        }
    }

    fn come_and_go(inbox: &LoomArc<Inbox<Item, ()>>, seen: &LoomArc<AtomicUsize>, item: usize) {
        let started = std::cell::RefCell::new(Vec::new());
        let start = || {
            let watchdog = (LoomArc::clone(inbox), LoomArc::clone(seen));
            let thread = thread::spawn(move || watch(&watchdog.0, &watchdog.1));
            started.borrow_mut().push(thread);
            Ok(Arc::new(()))
        };
        let left = LoomArc::new(AtomicBool::new(false));
        let prepare = |(): &()| (item, LoomArc::clone(&left));
        inbox.arrive(start, prepare).unwrap();
        left.store(true, Ordering::SeqCst);
        inbox.leave();
        for started in started.take() {
            started.join().unwrap();
        }
    }

    #[test]
    fn whatever_arrives_is_watched_and_the_watchdog_ends_with_the_last() {
        loom::model(|| {
            let inbox = LoomArc::new(Inbox::new());
            let seen = LoomArc::new(AtomicUsize::new(0));
            let other = thread::spawn({
                let (inbox, seen) = (LoomArc::clone(&inbox), LoomArc::clone(&seen));
                move || come_and_go(&inbox, &seen, 1)
            });
            come_and_go(&inbox, &seen, 10);
            other.join().unwrap();
            assert_eq!(seen.load(Ordering::SeqCst), 11);
            assert!(inbox.lock().shared.is_none());
        });
    }
}
