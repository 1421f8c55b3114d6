//! Who is to be watched: what the monitors' threads and the watchdog tell each other.
//!
//! Whoever holds the lock allocates nothing and runs no code that is not ours, so the watchdog may wait
//! for it.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// `T` is watched, and `P` is what the watchdog has for its work while it runs.
#[derive(Debug)]
pub(super) struct Inbox<T, P> {
    state: Mutex<State<T, P>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T, P> {
    /// That of the watchdog that is there to see what comes in.
    attended: Option<Arc<P>>,
    /// How many are about to arrive.
    announced: usize,
    arrived: VecDeque<T>,
    /// Something is to be watched no longer.
    left: bool,
}

impl<T, P> Inbox<T, P> {
    pub(super) fn new() -> Inbox<T, P> {
        Inbox {
            state: Mutex::new(State {
                attended: None,
                announced: 0,
                arrived: VecDeque::new(),
                left: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Hands what `prepare` makes to the watchdog, which `start` starts if there is none.
    pub(super) fn arrive(
        &self,
        start: impl FnOnce() -> io::Result<Arc<P>>,
        prepare: impl FnOnce(&P) -> T,
    ) -> io::Result<()> {
        let mailboxes = self.announce(start)?;
        let watched = prepare(&mailboxes);
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

    /// Says that something will come, so that the watchdog does not end. Returns what that has.
    fn announce(&self, start: impl FnOnce() -> io::Result<Arc<P>>) -> io::Result<Arc<P>> {
        let mut state = self.lock();
        let mailboxes = match &state.attended {
            Some(mailboxes) => Arc::clone(mailboxes),
            // Nobody waits for the lock but others who want the same.
            None => start()?,
        };
        state.attended = Some(Arc::clone(&mailboxes));
        state.announced += 1;
        Ok(mailboxes)
    }

    /// Something is to be watched no longer: it says itself that it is.
    pub(super) fn leave(&self) {
        self.lock().left = true;
        self.changed.notify_one();
    }

    /// For the watchdog: waits until something comes in, for `longest` at most. Whether something is
    /// to be watched no longer.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let mut state = self.lock();
        if state.arrived.is_empty() && !state.left {
            let waited = self.changed.wait_timeout(state, longest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        mem::take(&mut state.left)
    }

    /// For the watchdog: the next that has come in.
    pub(super) fn next(&self) -> Option<T> {
        self.lock().arrived.pop_front()
    }

    /// For a watchdog with nothing to watch. If it may not end, something has come in.
    pub(super) fn may_end(&self) -> bool {
        let mut state = self.lock();
        if state.announced > 0 || !state.arrived.is_empty() {
            return false;
        }
        state.left = false;
        let attended = state.attended.take();
        drop(state);
        drop(attended);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State<T, P>> {
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

    /// Watches until nothing is left, as the watchdog does; what has arrived is added to `seen`.
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
            assert!(inbox.lock().attended.is_none());
        });
    }
}
