//! Who is to be watched: what the monitors' threads and the watchdog tell each other.

use std::io;
use std::sync::PoisonError;
#[cfg(not(loopmon_loom))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

#[cfg(loopmon_loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct Inbox<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// A watchdog is there to see what comes in.
    attended: bool,
    next: Id,
    orders: Orders<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u64);

/// What has come in since the last time.
#[derive(Debug)]
pub(super) struct Orders<T> {
    pub(super) arrived: Vec<(Id, T)>,
    pub(super) left: Vec<Id>,
}

impl<T> Orders<T> {
    fn none() -> Orders<T> {
        Orders {
            arrived: Vec::new(),
            left: Vec::new(),
        }
    }

    fn is_none(&self) -> bool {
        self.arrived.is_empty() && self.left.is_empty()
    }
}

impl<T> Inbox<T> {
    pub(super) fn new() -> Inbox<T> {
        Inbox {
            state: Mutex::new(State {
                attended: false,
                next: Id(0),
                orders: Orders::none(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Hands `watched` to the watchdog, which `start` starts if there is none.
    pub(super) fn arrive(
        &self,
        watched: T,
        start: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Id> {
        let mut state = self.lock();
        if !state.attended {
            start()?;
            state.attended = true;
        }
        let id = state.next;
        state.next = Id(id.0 + 1);
        state.orders.arrived.push((id, watched));
        drop(state);
        self.changed.notify_one();
        Ok(id)
    }

    /// It is not to be watched any longer.
    pub(super) fn leave(&self, id: Id) {
        let mut state = self.lock();
        // Without a watchdog nothing is watched.
        if state.attended {
            state.orders.left.push(id);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// For the watchdog: waits until something comes in, for `longest` at most.
    pub(super) fn wait(&self, longest: Duration) -> Orders<T> {
        let mut state = self.lock();
        if state.orders.is_none() {
            let waited = self.changed.wait_timeout(state, longest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::replace(&mut state.orders, Orders::none())
    }

    /// For a watchdog with nothing to watch. If it may not end, it has orders.
    pub(super) fn may_end(&self) -> bool {
        let mut state = self.lock();
        state.attended = !state.orders.arrived.is_empty();
        if !state.attended {
            state.orders = Orders::none();
        }
        !state.attended
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    use super::*;

    /// Watches until nothing is left, as the watchdog does; what has arrived is added to `seen`.
    fn watch(inbox: &Inbox<usize>, seen: &AtomicUsize) {
        let mut watched = Vec::new();
        loop {
            let orders = inbox.wait(Duration::MAX);
            for (id, item) in orders.arrived {
                seen.fetch_add(item, Ordering::SeqCst);
                watched.push(id);
            }
            watched.retain(|id| !orders.left.contains(id));
            if watched.is_empty() && inbox.may_end() {
                return;
            }
        }
    }

    fn come_and_go(inbox: &Arc<Inbox<usize>>, seen: &Arc<AtomicUsize>, item: usize) {
        let mut started = None;
        let watchdog = (Arc::clone(inbox), Arc::clone(seen));
        let start = || {
            started = Some(thread::spawn(move || watch(&watchdog.0, &watchdog.1)));
            Ok(())
        };
        let id = inbox.arrive(item, start).unwrap();
        inbox.leave(id);
        if let Some(started) = started {
            started.join().unwrap();
        }
    }

    #[test]
    fn whatever_arrives_is_watched_and_the_watchdog_ends_with_the_last() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::new());
            let seen = Arc::new(AtomicUsize::new(0));
            let other = thread::spawn({
                let (inbox, seen) = (Arc::clone(&inbox), Arc::clone(&seen));
                move || come_and_go(&inbox, &seen, 1)
            });
            come_and_go(&inbox, &seen, 10);
            other.join().unwrap();
            assert_eq!(seen.load(Ordering::SeqCst), 11);
            assert!(!inbox.lock().attended);
        });
    }
}
