//! A list of tasks that wait for a change, and how they are woken. What they wait for is up to its users.
//!
//! A waker is its executor's code: it may panic, block, come back into loopmon, or drop anything. So wakers
//! are cloned, called and dropped while nothing is locked (the rule of `Lock` in `sync.rs`). And the caller of
//! `wake_all` calls only wakers that are known to do nothing but schedule a task; a thread of loopmon's own
//! calls the others (see `waker_threads.rs`).

mod known;
mod waker_threads;

use std::sync::Arc;
use std::task::Waker;

use crate::foreign;
use crate::sync::Lock;
use waker_threads::{ForeignWaker, WAKER_THREADS};

/// How many tasks are woken each time the lock is released.
const AT_ONCE: usize = 32;

/// A list of waiting tasks. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub(crate) struct WaitList(Arc<Lock<Slots>>);

#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    /// Starts the list of free slots.
    free: Option<usize>,
}

#[derive(Debug)]
enum Slot {
    Free { next: Option<usize> },
    Taken(Option<Wakeup>),
}

/// How to wake a waiting task.
#[derive(Debug)]
enum Wakeup {
    Known(Waker),
    Foreign(Arc<ForeignWaker>),
}

impl Wakeup {
    fn take_foreign(wakeup: &mut Option<Wakeup>) -> Option<Arc<ForeignWaker>> {
        match wakeup.take_if(|wakeup| matches!(wakeup, Wakeup::Foreign(_))) {
            Some(Wakeup::Foreign(foreign)) => Some(foreign),
            _ => None,
        }
    }
}

impl WaitList {
    /// Returns a slot for a task that may wait, again and again.
    pub(crate) fn waiter(&self) -> Waiter {
        let mut room = Vec::new();
        loop {
            // Allocated while nothing is locked, as the allocator may be stuck.
            match self.0.with(|slots| slots.occupy(&mut room)) {
                Ok(index) => {
                    return Waiter {
                        list: self.clone(),
                        index,
                        foreign: None,
                    };
                }
                Err(taken) => room = Vec::with_capacity(4.max(2 * taken)),
            }
        }
    }

    /// Wakes all waiting tasks. It allocates nothing, and waits for no other thread.
    pub(crate) fn wake_all(&self) {
        let mut from = 0;
        loop {
            let mut wakeups = [const { None }; AT_ONCE];
            let next = self.0.with(|slots| slots.take_wakeups(from, &mut wakeups));
            WAKER_THREADS
                .get()
                .take_over(wakeups.iter_mut().filter_map(Wakeup::take_foreign));
            for wakeup in wakeups {
                if let Some(Wakeup::Known(waker)) = wakeup {
                    foreign::call(|| waker.wake()).ok();
                }
            }
            match next {
                Some(next) => from = next,
                None => return,
            }
        }
    }
}

impl Slots {
    /// Takes a free slot. If there is none, it moves all slots to `room`. If `room` is too small for that, it
    /// returns the number of slots.
    fn occupy(&mut self, room: &mut Vec<Slot>) -> Result<usize, usize> {
        if let Some(index) = self.free {
            if let Slot::Free { next } = self.slots[index] {
                self.free = next;
            }
            self.slots[index] = Slot::Taken(None);
            return Ok(index);
        }
        if self.slots.len() == self.slots.capacity() {
            if room.capacity() <= self.slots.len() {
                return Err(self.slots.len());
            }
            room.append(&mut self.slots);
            std::mem::swap(&mut self.slots, room);
        }
        self.slots.push(Slot::Taken(None));
        Ok(self.slots.len() - 1)
    }

    /// Sets the wakeup of a slot, and returns the one before.
    fn set(&mut self, index: usize, wakeup: Option<Wakeup>) -> Option<Wakeup> {
        match std::mem::replace(&mut self.slots[index], Slot::Taken(wakeup)) {
            Slot::Taken(before) => before,
            Slot::Free { .. } => None,
        }
    }

    fn vacate(&mut self, index: usize) -> Option<Wakeup> {
        let wakeup = self.set(index, None);
        self.slots[index] = Slot::Free { next: self.free };
        self.free = Some(index);
        wakeup
    }

    /// Moves the wakeups of the slots from `from` on into `wakeups`. If that is full, it returns the slot at
    /// which to continue.
    fn take_wakeups(
        &mut self,
        from: usize,
        wakeups: &mut [Option<Wakeup>; AT_ONCE],
    ) -> Option<usize> {
        let mut wakeups = wakeups.iter_mut();
        for (index, slot) in self.slots.iter_mut().enumerate().skip(from) {
            let Slot::Taken(waits @ Some(_)) = slot else {
                continue;
            };
            match wakeups.next() {
                Some(wakeup) => *wakeup = waits.take(),
                None => return Some(index),
            }
        }
        None
    }
}

/// A task's slot in a list.
#[derive(Debug)]
pub(crate) struct Waiter {
    list: WaitList,
    index: usize,
    /// Holds the task's place in the threads' queue, once it has waited with a waker that is not known.
    foreign: Option<Arc<ForeignWaker>>,
}

impl Waiter {
    /// Registers `waker` for the next [`WaitList::wake_all`]. The change may have come before, so check for it
    /// after this call.
    pub(crate) fn register(&mut self, waker: &Waker) {
        let wakeup = self.wakeup(waker.clone());
        let before = self
            .list
            .0
            .with(|slots| slots.set(self.index, Some(wakeup)));
        drop(before);
    }

    fn wakeup(&mut self, waker: Waker) -> Wakeup {
        if known::is_known(&waker) {
            return Wakeup::Known(waker);
        }
        if self.foreign.is_none() {
            self.foreign = WAKER_THREADS.get().admit();
        }
        match &self.foreign {
            Some(foreign) if WAKER_THREADS.get().ensure_started() => {
                foreign.set(waker);
                Wakeup::Foreign(Arc::clone(foreign))
            }
            // The system refuses the threads.
            _ => Wakeup::Known(waker),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let before = self.list.0.with(|slots| slots.vacate(self.index));
        foreign::discard(before);
        if let Some(foreign) = &self.foreign {
            WAKER_THREADS.get().dismiss(foreign);
        }
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn slots_are_used_again_and_all_waiting_tasks_are_woken_once() {
        struct Counts(AtomicUsize);
        impl std::task::Wake for Counts {
            fn wake(self: Arc<Counts>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let waiting = WaitList::default();
        let mut waiters: Vec<Waiter> = (0..3 * AT_ONCE).map(|_| waiting.waiter()).collect();
        waiters.truncate(2 * AT_ONCE);
        waiters.extend((0..AT_ONCE).map(|_| waiting.waiter()));
        assert_eq!(waiting.0.with(|slots| slots.slots.len()), 3 * AT_ONCE);

        let woken = Arc::new(Counts(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        for waiter in &mut waiters {
            // As if it were known.
            let wakeup = Wakeup::Known(waker.clone());
            waiting
                .0
                .with(|slots| slots.set(waiter.index, Some(wakeup)));
        }
        let allocated = allocation_counter::measure(|| waiting.wake_all());
        assert_eq!(allocated.count_total, 0);
        waiting.wake_all();
        assert_eq!(woken.0.load(Ordering::Relaxed), waiters.len());
        drop(waiters);
        assert_eq!(Arc::strong_count(&woken), 2);
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl std::task::Wake for Counts {
        fn wake(self: Arc<Counts>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_change_is_seen_or_wakes() {
        loom::model(|| {
            // The change, behind a lock of its own, as with a channel.
            let changed = Arc::new(Lock::new(false));
            let waiting = WaitList::default();
            let woken = Arc::new(Counts::default());
            let changer = loom::thread::spawn({
                let (changed, waiting) = (Arc::clone(&changed), waiting.clone());
                move || {
                    changed.with(|changed| *changed = true);
                    waiting.wake_all();
                }
            });
            let waker = Waker::from(Arc::clone(&woken));
            let mut waiter = waiting.waiter();
            waiter.register(&waker);
            let seen = changed.with(|changed| *changed);
            changer.join().unwrap();
            assert!(seen || woken.0.load(Ordering::SeqCst) == 1);
        });
    }

    #[test]
    fn a_waiter_that_goes_while_others_come_and_all_are_woken_leaves_nothing() {
        loom::model(|| {
            let waiting = WaitList::default();
            let woken = Arc::new(Counts::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut stays = waiting.waiter();
            stays.register(&waker);
            let comes_and_goes = loom::thread::spawn({
                let (waiting, waker) = (waiting.clone(), waker.clone());
                move || {
                    let mut waiter = waiting.waiter();
                    waiter.register(&waker);
                    drop(waiter);
                }
            });
            waiting.wake_all();
            comes_and_goes.join().unwrap();
            assert!((1..=2).contains(&woken.0.load(Ordering::SeqCst)));
            drop((stays, waker));
            assert_eq!(Arc::strong_count(&woken), 1);
        });
    }
}
