//! Which threads may be asked: a table that neither side waits for.

#[cfg(not(loopmon_loom))]
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(loopmon_loom)]
use loom::sync::atomic::{AtomicU32, Ordering};

/// No thread has this number.
const FREE: u32 = 0;

/// Threads by their numbers, `N` at most.
#[derive(Debug)]
pub(super) struct Roll<const N: usize> {
    entries: [AtomicU32; N],
}

impl<const N: usize> Roll<N> {
    #[cfg(not(loopmon_loom))]
    pub(super) const fn new() -> Roll<N> {
        Roll {
            entries: [const { AtomicU32::new(FREE) }; N],
        }
    }

    #[cfg(loopmon_loom)]
    pub(super) fn new() -> Roll<N> {
        Roll {
            entries: std::array::from_fn(|_| AtomicU32::new(FREE)),
        }
    }

    /// Puts a thread on it, and returns where. `None` if there is no room.
    pub(super) fn enter(&self, thread: u32) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry
                .compare_exchange(FREE, thread, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// For who has entered there.
    pub(super) fn leave(&self, place: usize) {
        self.entries[place].store(FREE, Ordering::Release);
    }

    pub(super) fn has(&self, thread: u32) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.load(Ordering::Acquire) == thread)
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_makes_room() {
        let roll = Roll::<2>::new();
        let first = roll.enter(7).unwrap();
        roll.enter(8).unwrap();
        assert_eq!(roll.enter(9), None);
        assert!(roll.has(7) && roll.has(8) && !roll.has(9));
        roll.leave(first);
        assert!(!roll.has(7));
        assert_eq!(roll.enter(9), Some(first));
        assert!(roll.has(9));
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn nobody_takes_the_place_of_another() {
        loom::model(|| {
            let roll = Arc::new(Roll::<2>::new());
            let other = thread::spawn({
                let roll = Arc::clone(&roll);
                move || {
                    let place = roll.enter(8).unwrap();
                    assert!(roll.has(8));
                    roll.leave(place);
                    assert!(!roll.has(8));
                }
            });
            roll.enter(7).unwrap();
            assert!(roll.has(7));
            other.join().unwrap();
            assert!(roll.has(7) && !roll.has(8));
        });
    }
}
