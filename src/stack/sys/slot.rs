//! A slot in which the watchdog leaves a question and a signal handler answers it.
//!
//! One word says whose turn it is, and whom the question is for. Whoever has moved the word to
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
/// The slot has a question.
const ASKED: u64 = 2;
/// The handler is answering the question.
const ANSWERING: u64 = 3;
/// The slot has an answer.
const ANSWERED: u64 = 4;
/// The handler is answering a question that was withdrawn.
const UNWANTED: u64 = 5;

/// The bits of the word that have the state; above are 7 of the signal, 22 of the number, and those of the thread.
const STATE: u64 = 0b111;
const SIGNAL: u64 = 0x7f << 3;
const NUMBER: u64 = 0x3f_ffff << 10;

/// Whom a question is for, and by which signal. The number tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) thread: u32,
    pub(super) signal: u8,
    pub(super) number: u32,
}

impl Address {
    /// The word of a slot that has this question, or its answer.
    fn word(self, state: u64) -> u64 {
        let number = u64::from(self.number) << 10 & NUMBER;
        word(self.thread, self.signal, state) | number
    }
}

/// The word without the number. The handler needs it, so it uses little stack.
fn word(thread: u32, signal: u8, state: u64) -> u64 {
    u64::from(thread) << 32 | u64::from(signal) << 3 & SIGNAL | state
}

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

    /// Leaves a question, and drops an answer that nobody wanted. Fails if the slot is not empty.
    pub(super) fn ask(&self, address: Address, question: T) -> Result<(), T> {
        if !self.advance(EMPTY, WRITING) {
            return Err(question);
        }
        self.access(|value| *value = Some(question));
        self.turn.store(address.word(ASKED), Ordering::Release);
        Ok(())
    }

    /// Called by the handler of `signal` on `thread`: applies `work` to the question if it is for these, and returns
    /// whether it was. Neither allocates nor frees.
    pub(super) fn answer(&self, thread: u32, signal: u8, work: impl FnOnce(&mut T)) -> bool {
        let asked = self.turn.load(Ordering::Relaxed);
        if asked & !NUMBER != word(thread, signal, ASKED)
            || !self.advance(asked, asked ^ ASKED ^ ANSWERING)
        {
            return false;
        }
        self.access(|value| value.as_mut().map(work));
        let is_wanted = self.turn.compare_exchange(
            asked ^ ASKED ^ ANSWERING,
            asked ^ ASKED ^ ANSWERED,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if is_wanted.is_err() {
            // The value stays, as a handler must not free.
            self.turn.store(EMPTY, Ordering::Release);
        }
        true
    }

    /// Takes the answer to this question, if there is one.
    pub(super) fn collect(&self, address: Address) -> Option<T> {
        self.take_at(address.word(ANSWERED))
    }

    /// Takes this question back, or the answer if there is one by now. Returns `None` while the handler is
    /// answering: then the slot is empty when it has ended.
    pub(super) fn withdraw(&self, address: Address) -> Option<T> {
        if let Some(question) = self.take_at(address.word(ASKED)) {
            return Some(question);
        }
        if self.advance(address.word(ANSWERING), UNWANTED) {
            return None;
        }
        self.collect(address)
    }

    /// Takes whatever question or answer there is.
    pub(super) fn evict(&self) -> Option<T> {
        let word = self.turn.load(Ordering::Relaxed);
        let is_taken = matches!(word & STATE, ASKED | ANSWERED);
        is_taken.then(|| self.take_at(word)).flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turn.load(Ordering::Relaxed) == EMPTY
    }

    fn take_at(&self, turn: u64) -> Option<T> {
        if !self.advance(turn, WRITING) {
            return None;
        }
        let taken = self.access(Option::take);
        self.turn.store(EMPTY, Ordering::Release);
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

#[cfg(test)]
fn to(thread: u32, number: u32) -> Address {
    Address {
        thread,
        signal: 23,
        number,
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_question_goes_to_one_thread_and_signal_and_is_answered_once() {
        let slot = Slot::new();
        assert_eq!(slot.collect(to(7, 1)), None);
        slot.ask(to(7, 1), 1).unwrap();
        assert_eq!(slot.ask(to(8, 2), 5), Err(5));
        assert!(!slot.answer(8, 23, |value| *value = 3));
        assert!(!slot.answer(7, 24, |value| *value = 3));
        assert_eq!(slot.collect(to(7, 1)), None);
        assert!(slot.answer(7, 23, |value| *value += 1));
        assert!(!slot.answer(7, 23, |value| *value += 1));
        assert_eq!(slot.collect(to(7, 2)), None);
        assert_eq!(slot.collect(to(7, 1)), Some(2));
        assert!(slot.is_empty());
    }

    #[test]
    fn a_question_stays_until_it_is_withdrawn() {
        let slot = Slot::new();
        slot.ask(to(7, 1), 1).unwrap();
        assert_eq!(slot.withdraw(to(7, 2)), None);
        assert_eq!(slot.withdraw(to(7, 1)), Some(1));
        assert!(!slot.answer(7, 23, |_| ()));
        slot.ask(to(7, 2), 2).unwrap();
        assert!(slot.answer(7, 23, |value| {
            // The watchdog gives up while the handler is answering.
            assert_eq!(slot.withdraw(to(7, 2)), None);
            assert_eq!(slot.evict(), None);
            assert_eq!(slot.ask(to(8, 3), 9), Err(9));
            *value = 3;
        }));
        assert!(slot.is_empty());
        slot.ask(to(8, 3), 4).unwrap();
        assert_eq!(slot.evict(), Some(4));
        slot.ask(to(8, 3), 4).unwrap();
        assert_eq!(slot.withdraw(to(8, 3)), Some(4));
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
            slot.ask(to(7, 1), [0, 0]).unwrap();
            let handler = thread::spawn({
                let slot = Arc::clone(&slot);
                move || {
                    let first = slot.answer(7, 23, |value| *value = [1, 1]);
                    let second = slot.answer(7, 23, |value| *value = [2, 2]);
                    (first, second)
                }
            });
            let given_back = slot.withdraw(to(7, 1));
            // The next question, to the same thread.
            let asked_again = slot.ask(to(7, 2), [5, 5]).is_ok();
            let (first, second) = handler.join().unwrap();
            assert_eq!(slot.withdraw(to(7, 1)), None);
            let last = slot.withdraw(to(7, 2));
            assert_eq!(last.is_some(), asked_again);
            match given_back {
                Some([0, 0] | [1, 1]) => assert!(asked_again),
                // It was withdrawn too late.
                None => assert!(first),
                other => panic!("{other:?}"),
            }
            assert!(slot.is_empty());
            match last {
                Some([1, 1]) => assert!(first && !second),
                Some([2, 2]) => assert!(second),
                Some([5, 5]) => assert!(!second),
                None => assert!(!second),
                other => panic!("{other:?}"),
            }
        });
    }

    /// Whoever drops a question that has given way disturbs no handler.
    #[test]
    fn a_question_that_was_left_is_answered_late_or_gives_way() {
        loom::model(|| {
            let slot = Arc::new(Slot::new());
            slot.ask(to(7, 1), [0, 0]).unwrap();
            let handler = thread::spawn({
                let slot = Arc::clone(&slot);
                move || slot.answer(7, 23, |value| *value = [1, 1])
            });
            assert_eq!(slot.withdraw(to(7, 2)), None);
            let late = slot.collect(to(7, 1));
            let evicted = slot.evict();
            let asked_again = slot.ask(to(8, 3), [5, 5]).is_ok();
            let answered = handler.join().unwrap();
            // Nothing but the eviction keeps the handler from it.
            assert!(answered || evicted == Some([0, 0]));
            assert!(late.is_none() || answered && asked_again);
            if asked_again {
                assert_eq!(slot.withdraw(to(8, 3)), Some([5, 5]));
            } else {
                assert_eq!(slot.withdraw(to(7, 1)), Some([1, 1]));
            }
            assert!(slot.is_empty());
        });
    }
}
