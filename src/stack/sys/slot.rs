//! The place where the watchdog leaves a question and a signal handler answers it.
//!
//! One word says whose turn it is, and to which thread the question goes. Whoever has moved it to
//! `Writing` or `Answering` has the value for itself until it moves the word on. Nobody waits here:
//! a handler cannot, and the watchdog must not.

#[cfg(not(loopmon_loom))]
use std::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, Ordering},
};

#[cfg(loopmon_loom)]
use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, Ordering},
};

/// Nothing is asked.
const EMPTY: u64 = 0;
/// The asking side puts something in or takes it out.
const WRITING: u64 = 1;
/// Asked; the thread's id is in the upper half.
const ASKED: u64 = 2;
/// The handler is at it.
const ANSWERING: u64 = 3;
const ANSWERED: u64 = 4;

pub(super) struct Slot<T> {
    turn: AtomicU64,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is reached only through `reach`, by one thread at a time, which its turn makes
// sure of; so it only has to bear being sent.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    #[cfg(not(loopmon_loom))]
    pub(super) const fn new() -> Slot<T> {
        Slot {
            turn: AtomicU64::new(EMPTY),
            value: UnsafeCell::new(None),
        }
    }

    #[cfg(loopmon_loom)]
    pub(super) fn new() -> Slot<T> {
        Slot {
            turn: AtomicU64::new(EMPTY),
            value: UnsafeCell::new(None),
        }
    }

    /// Puts a question to `thread`. Fails if one is there that cannot be taken back yet. Only one may
    /// ask at a time: an answer that is there already counts as one nobody waits for.
    pub(super) fn ask(&self, thread: u32, question: T) -> Result<(), T> {
        // An answer that came too late, to a question that nobody waits for any longer.
        drop(self.collect());
        if !self.advance(EMPTY, WRITING) {
            return Err(question);
        }
        self.reach(|value| *value = Some(question));
        self.turn.store(asked(thread), Ordering::Release);
        Ok(())
    }

    /// For the handler, on `thread`: works on the question, if it is to this thread. Neither
    /// allocates nor frees.
    pub(super) fn answer(&self, thread: u32, work: impl FnOnce(&mut T)) -> bool {
        if !self.advance(asked(thread), ANSWERING) {
            return false;
        }
        self.reach(|value| value.as_mut().map(work));
        self.turn.store(ANSWERED, Ordering::Release);
        true
    }

    /// Takes the answer, if it has come.
    pub(super) fn collect(&self) -> Option<T> {
        self.take_at(ANSWERED)
    }

    /// Takes the question back, or the answer if it has come meanwhile. `None` while the handler is
    /// at it: then the question stays until a later call.
    pub(super) fn withdraw(&self, thread: u32) -> Option<T> {
        self.take_at(asked(thread)).or_else(|| self.collect())
    }

    fn take_at(&self, turn: u64) -> Option<T> {
        if !self.advance(turn, WRITING) {
            return None;
        }
        let taken = self.reach(Option::take);
        self.turn.store(EMPTY, Ordering::Release);
        taken
    }

    fn advance(&self, from: u64, to: u64) -> bool {
        self.turn
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Only for who has moved the turn to `WRITING` or `ANSWERING`.
    #[cfg(not(loopmon_loom))]
    fn reach<R>(&self, work: impl FnOnce(&mut Option<T>) -> R) -> R {
        let value = self.value.get();
        // SAFETY: the turn is the caller's, and `advance` has given it to nobody else.
        work(unsafe { &mut *value })
    }

    #[cfg(loopmon_loom)]
    fn reach<R>(&self, work: impl FnOnce(&mut Option<T>) -> R) -> R {
        // SAFETY: as above; loom checks it.
        self.value.with_mut(|value| work(unsafe { &mut *value }))
    }
}

fn asked(thread: u32) -> u64 {
    u64::from(thread) << 32 | ASKED
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_question_goes_to_one_thread_and_is_answered_once() {
        let slot = Slot::new();
        assert_eq!(slot.collect(), None);
        slot.ask(7, 1).unwrap();
        assert_eq!(slot.ask(8, 5), Err(5));
        assert!(!slot.answer(8, |value| *value = 3));
        assert_eq!(slot.collect(), None);
        assert!(slot.answer(7, |value| *value += 1));
        assert!(!slot.answer(7, |value| *value += 1));
        assert_eq!(slot.collect(), Some(2));
        assert_eq!(slot.collect(), None);
    }

    #[test]
    fn what_nobody_waits_for_makes_room() {
        let slot = Slot::new();
        slot.ask(7, 1).unwrap();
        assert_eq!(slot.withdraw(7), Some(1));
        assert!(!slot.answer(7, |_| ()));
        slot.ask(7, 2).unwrap();
        assert!(slot.answer(7, |value| {
            // The watchdog gives up while the handler is at it.
            assert_eq!(slot.withdraw(7), None);
            assert_eq!(slot.ask(8, 9), Err(9));
            *value = 3;
        }));
        slot.ask(8, 4).unwrap();
        assert_eq!(slot.withdraw(8), Some(4));
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A handler that may come late, twice, or after the question was taken back.
    #[test]
    fn a_question_is_answered_whole_or_comes_back_as_it_was() {
        loom::model(|| {
            let slot = Arc::new(Slot::new());
            slot.ask(7, [0, 0]).unwrap();
            let handler = thread::spawn({
                let slot = Arc::clone(&slot);
                move || {
                    let first = slot.answer(7, |value| *value = [1, 1]);
                    let second = slot.answer(7, |value| *value = [2, 2]);
                    (first, second)
                }
            });
            let given_back = slot.withdraw(7);
            // The next question, to the same thread.
            let asked_again = slot.ask(7, [5, 5]).is_ok();
            let (first, second) = handler.join().unwrap();
            let last = slot.withdraw(7);
            match given_back {
                Some([0, 0] | [1, 1]) => assert!(asked_again),
                None => assert!(first),
                other => panic!("{other:?}"),
            }
            let served = u32::from(first) + u32::from(second);
            assert!(last.is_some());
            match last {
                // The first question, withdrawn too late.
                Some([1, 1]) if !asked_again => assert_eq!((given_back, served), (None, 1)),
                Some([1, 1]) => assert!(first && !second),
                Some([2, 2]) => assert!(second && asked_again),
                Some([5, 5]) => assert!(asked_again && !second),
                other => panic!("{other:?}"),
            }
        });
    }
}
