//! Which threads may be asked: a set of thread ids in which nobody waits for anybody.

#[cfg(not(loopmon_loom))]
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(loopmon_loom)]
use loom::sync::atomic::{AtomicU32, Ordering};

/// Marks a free place. No thread has this id.
const FREE: u32 = 0;

/// A set of at most `N` thread ids.
#[derive(Debug)]
pub(super) struct ThreadSet<const N: usize> {
    entries: [AtomicU32; N],
}

impl<const N: usize> ThreadSet<N> {
    #[cfg(not(loopmon_loom))]
    pub(super) const fn new() -> ThreadSet<N> {
        ThreadSet {
            entries: [const { AtomicU32::new(FREE) }; N],
        }
    }

    #[cfg(loopmon_loom)]
    pub(super) fn new() -> ThreadSet<N> {
        ThreadSet {
            entries: std::array::from_fn(|_| AtomicU32::new(FREE)),
        }
    }

    /// Adds a thread and returns its place, or `None` if there is no room.
    pub(super) fn insert(&self, thread: u32) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry
                .compare_exchange(FREE, thread, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// Frees a place. Only the thread that got it from `insert` may call this.
    pub(super) fn remove(&self, place: usize) {
        self.entries[place].store(FREE, Ordering::Release);
    }

    pub(super) fn contains(&self, thread: u32) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.load(Ordering::Acquire) == thread)
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_removed_thread_makes_room() {
        let set = ThreadSet::<2>::new();
        let first = set.insert(7).unwrap();
        set.insert(8).unwrap();
        assert_eq!(set.insert(9), None);
        assert!(set.contains(7) && set.contains(8) && !set.contains(9));
        set.remove(first);
        assert!(!set.contains(7));
        assert_eq!(set.insert(9), Some(first));
        assert!(set.contains(9));
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn no_thread_takes_the_place_of_another() {
        loom::model(|| {
            let set = Arc::new(ThreadSet::<2>::new());
            let other = thread::spawn({
                let set = Arc::clone(&set);
                move || {
                    let place = set.insert(8).unwrap();
                    assert!(set.contains(8));
                    set.remove(place);
                    assert!(!set.contains(8));
                }
            });
            set.insert(7).unwrap();
            assert!(set.contains(7));
            other.join().unwrap();
            assert!(set.contains(7) && !set.contains(8));
        });
    }
}
