//! A slot in which the watchdog leaves a question and a signal handler answers it.
//!
//! One word says whose turn it is, and which thread the question is for. Whoever has moved the word to
//! `WRITING` or `ANSWERING` owns the value until it moves the word on. Nobody waits here: a handler cannot,
//! and the watchdog must not.

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

/// The slot has no question.
const EMPTY: u64 = 0;
/// The asking side puts a value in or takes one out.
const WRITING: u64 = 1;
/// The slot has a question; the thread's id is in the upper half of the word.
const ASKED: u64 = 2;
/// The handler is answering the question.
const ANSWERING: u64 = 3;
/// The slot has an answer.
const ANSWERED: u64 = 4;

pub(super) struct Slot<T> {
    turn: AtomicU64,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is accessed only through `access`, by the one thread whose turn it is. So it is enough that
// it may be sent to another thread.
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

    /// Leaves a question for `thread`. Fails if the slot is not empty.
    pub(super) fn ask(&self, thread: u32, question: T) -> Result<(), T> {
        if !self.advance(EMPTY, WRITING) {
            return Err(question);
        }
        self.access(|value| *value = Some(question));
        self.turn.store(asked(thread), Ordering::Release);
        Ok(())
    }

    /// Called by the handler on `thread`: applies `work` to the question if it is for this thread, and returns
    /// whether it was. Neither allocates nor frees.
    pub(super) fn answer(&self, thread: u32, work: impl FnOnce(&mut T)) -> bool {
        if !self.advance(asked(thread), ANSWERING) {
            return false;
        }
        self.access(|value| value.as_mut().map(work));
        self.turn.store(ANSWERED, Ordering::Release);
        true
    }

    /// Takes the answer, if there is one and it is wanted.
    pub(super) fn collect(&self, is_wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        self.take_at(ANSWERED, is_wanted)
    }

    /// Takes the question back, or the answer if there is one by now, if it is wanted. Returns `None` while the
    /// handler is answering: then the question stays until a later call.
    pub(super) fn withdraw(&self, is_wanted: impl Fn(&T) -> bool) -> Option<T> {
        let turn = self.turn.load(Ordering::Relaxed);
        let question = is_asked(turn).then(|| self.take_at(turn, &is_wanted));
        question.flatten().or_else(|| self.collect(is_wanted))
    }

    fn take_at(&self, turn: u64, is_wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        if !self.advance(turn, WRITING) {
            return None;
        }
        let taken = self.access(|value| value.take_if(|value| is_wanted(value)));
        let next = if taken.is_some() { EMPTY } else { turn };
        self.turn.store(next, Ordering::Release);
        taken
    }

    fn advance(&self, from: u64, to: u64) -> bool {
        self.turn
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Called only by the thread that has moved the turn to `WRITING` or `ANSWERING`.
    #[cfg(not(loopmon_loom))]
    fn access<R>(&self, work: impl FnOnce(&mut Option<T>) -> R) -> R {
        let value = self.value.get();
        // SAFETY: it is the caller's turn, and `advance` gives a turn to one thread only.
        work(unsafe { &mut *value })
    }

    #[cfg(loopmon_loom)]
    fn access<R>(&self, work: impl FnOnce(&mut Option<T>) -> R) -> R {
        // SAFETY: as above; loom checks it.
        self.value.with_mut(|value| work(unsafe { &mut *value }))
    }
}

fn asked(thread: u32) -> u64 {
    u64::from(thread) << 32 | ASKED
}

fn is_asked(turn: u64) -> bool {
    turn & u64::from(u32::MAX) == ASKED
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_question_goes_to_one_thread_and_is_answered_once() {
        let slot = Slot::new();
        assert_eq!(slot.collect(|_| true), None);
        slot.ask(7, 1).unwrap();
        assert_eq!(slot.ask(8, 5), Err(5));
        assert!(!slot.answer(8, |value| *value = 3));
        assert_eq!(slot.collect(|_| true), None);
        assert!(slot.answer(7, |value| *value += 1));
        assert!(!slot.answer(7, |value| *value += 1));
        assert_eq!(slot.collect(|value| *value == 1), None);
        assert_eq!(slot.collect(|value| *value == 2), Some(2));
        assert_eq!(slot.collect(|_| true), None);
    }

    #[test]
    fn a_question_stays_until_it_is_withdrawn() {
        let slot = Slot::new();
        slot.ask(7, 1).unwrap();
        assert_eq!(slot.withdraw(|value| *value == 2), None);
        assert_eq!(slot.withdraw(|_| true), Some(1));
        assert!(!slot.answer(7, |_| ()));
        slot.ask(7, 2).unwrap();
        assert!(slot.answer(7, |value| {
            // The watchdog gives up while the handler is answering.
            assert_eq!(slot.collect(|_| true), None);
            assert_eq!(slot.withdraw(|_| true), None);
            assert_eq!(slot.ask(8, 9), Err(9));
            *value = 3;
        }));
        assert_eq!(slot.ask(8, 9), Err(9));
        assert_eq!(slot.withdraw(|_| true), Some(3));
        slot.ask(8, 4).unwrap();
        assert_eq!(slot.withdraw(|_| true), Some(4));
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// The handler may run late, twice, or after the question was withdrawn.
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
            let given_back = slot.withdraw(|_| true);
            // The next question, to the same thread.
            let asked_again = slot.ask(7, [5, 5]).is_ok();
            let (first, second) = handler.join().unwrap();
            let last = slot.withdraw(|_| true);
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

    /// The next question may be to another thread.
    #[test]
    fn a_question_that_was_left_is_answered_late_or_gives_way() {
        loom::model(|| {
            let slot = Arc::new(Slot::new());
            slot.ask(7, [0, 0]).unwrap();
            let handler = thread::spawn({
                let slot = Arc::clone(&slot);
                move || slot.answer(7, |value| *value = [1, 1])
            });
            let late = slot.collect(|answer| *answer == [1, 1]);
            slot.withdraw(|_| true);
            let asked_again = slot.ask(8, [5, 5]).is_ok();
            let answered = handler.join().unwrap();
            assert!(late.is_none() || answered && asked_again);
            match slot.withdraw(|_| true) {
                Some([5, 5]) => assert!(asked_again),
                Some([1, 1]) => assert!(answered && !asked_again),
                other => panic!("{other:?}"),
            }
        });
    }
}
