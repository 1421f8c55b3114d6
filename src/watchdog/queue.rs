//! A bounded queue that the watchdog's thread can push to. What travels on it: `messages.rs`.
//!
//! A push neither allocates nor runs foreign code, and neither does anybody who holds the lock. So a
//! program that is stuck in its allocator does not hold the watchdog up.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Instant;

use crate::clock;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// For how many reserved items there is room from the beginning.
const SPARE: usize = 64;

/// In bytes.
const SMALLEST_PAGE: usize = 4_096;

#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// With so many items, further ones are refused.
    bound: usize,
    /// Makes an item of no meaning, which need not be dropped.
    any: fn() -> T,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Counts the items that there is room for beyond the bound.
    reserved: usize,
}

/// The queue has no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl<T> Queue<T> {
    /// `any` makes an item of no meaning, which need not be dropped.
    pub(super) fn new(bound: usize, any: fn() -> T) -> Queue<T> {
        let items = touched(bound + SPARE, any);
        Queue {
            state: Mutex::new(State { items, reserved: 0 }),
            changed: Condvar::new(),
            bound,
            any,
        }
    }

    /// Reserves room for one [`push_reserved`](Self::push_reserved).
    pub(super) fn reserve(&self) {
        let mut room = VecDeque::new();
        loop {
            let mut state = self.lock();
            let needed = self.bound + state.reserved + 1;
            if state.items.capacity() >= needed {
                state.reserved += 1;
                return;
            }
            if room.capacity() >= needed {
                state.reserved += 1;
                room.append(&mut state.items);
                std::mem::swap(&mut room, &mut state.items);
                // Memory is freed under no lock.
                drop(state);
                return;
            }
            drop(state);
            room = touched(needed + needed / 2, self.any);
        }
    }

    /// Gives back the room of a reserved item that has been popped, or was never pushed.
    pub(super) fn release(&self) {
        let mut state = self.lock();
        state.reserved = state.reserved.saturating_sub(1);
    }

    /// Adds an item, or drops it if there are too many.
    pub(super) fn push(&self, item: T) -> Result<(), Full> {
        let mut state = self.lock();
        if state.items.len() >= self.bound {
            return Err(Full);
        }
        state.items.push_back(item);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Adds an item that room is [reserved](Self::reserve) for.
    pub(super) fn push_reserved(&self, item: T) {
        self.lock().items.push_back(item);
        self.changed.notify_one();
    }

    /// Waits for the next item. `None` if there is none by `until`.
    pub(super) fn pop(&self, until: Option<Instant>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            state = match until {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(clock::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns room with all of its memory: the system provides that page by page, at the first write to each. A queue
/// comes round to all of its room, however few items it has at a time.
fn touched<T>(capacity: usize, any: fn() -> T) -> VecDeque<T> {
    let mut items = Vec::with_capacity(capacity);
    let in_a_page = (SMALLEST_PAGE / size_of::<T>().max(1)).max(1);
    let room = items.spare_capacity_mut();
    for item in room.iter_mut().step_by(in_a_page) {
        item.write(any());
    }
    if let Some(last) = room.last_mut() {
        last.write(any());
    }
    VecDeque::from(items)
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::procfs::OwnFaults;

    fn taken(queue: &Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop(Some(clock::now()))).collect()
    }

    #[test]
    fn what_is_too_much_is_refused_and_what_is_reserved_is_not() {
        let queue = Queue::new(2, || 0);
        queue.reserve();
        queue.reserve();
        for (item, added) in [(1, Ok(())), (2, Ok(())), (3, Err(Full))] {
            assert_eq!(queue.push(item), added);
        }
        queue.push_reserved(4);
        queue.push_reserved(5);
        assert_eq!(taken(&queue), [1, 2, 4, 5]);
        assert_eq!(queue.push(6), Ok(()));
        assert_eq!(taken(&queue), [6]);
    }

    #[test]
    fn no_push_allocates() {
        let queue = Queue::new(8, || 0);
        (0..100).for_each(|_| queue.reserve());
        let pushed = allocation_counter::measure(|| {
            while queue.push(1).is_ok() {}
            (0..100).for_each(|_| queue.push_reserved(2));
        });
        assert_eq!(pushed.count_total, 0);
        assert_eq!(taken(&queue).len(), 108);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_push_waits_for_a_page_of_memory() {
        const PAGES: usize = 400;
        let queue = Queue::new(4 * PAGES, || [0_u8; 1_024]);
        (0..4 * PAGES).for_each(|_| queue.reserve());
        let faults = OwnFaults::open();
        let before = faults.counts().unwrap().minor;
        while queue.push([1; 1_024]).is_ok() {}
        (0..4 * PAGES).for_each(|_| queue.push_reserved([2; 1_024]));
        let during = faults.counts().unwrap().minor - before;
        assert!(during < 40, "{during}");
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn whoever_waits_gets_what_comes() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(1, || 0));
            let taker = thread::spawn({
                let queue = Arc::clone(&queue);
                move || (queue.pop(None), queue.pop(None))
            });
            queue.reserve();
            queue.push_reserved(1);
            while queue.push(2).is_err() {
                thread::yield_now();
            }
            assert_eq!(taker.join().unwrap(), (Some(1), Some(2)));
        });
    }
}
