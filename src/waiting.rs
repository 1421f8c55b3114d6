//! Those who wait for something to change, and how they are woken.
//!
//! A waker is its executor's code: it may panic, block, come back into loopmon, or drop anything. So
//! it is cloned, woken and dropped while nothing is locked. And only those that are known to do no
//! more than to schedule a task are woken by whoever has something to tell; the others are woken by a
//! thread of loopmon's own, see `hands.rs`.

mod hands;
mod known;

use std::sync::Arc;
use std::task::Waker;

use crate::foreign;
use crate::sync::Lock;
use hands::{HANDS, Stranger};

/// How many are woken between two looks at who waits.
const AT_ONCE: usize = 32;

/// The place where some wait. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<Lock<Seats>>);

#[derive(Debug, Default)]
struct Seats {
    seats: Vec<Place>,
    free: Option<usize>,
}

#[derive(Debug)]
enum Place {
    Free { next: Option<usize> },
    Taken(Option<Call>),
}

/// How to wake one who waits.
#[derive(Debug)]
enum Call {
    Known(Waker),
    Stranger(Arc<Stranger>),
}

impl Call {
    fn take_stranger(call: &mut Option<Call>) -> Option<Arc<Stranger>> {
        match call.take_if(|call| matches!(call, Call::Stranger(_))) {
            Some(Call::Stranger(stranger)) => Some(stranger),
            _ => None,
        }
    }
}

impl Waiting {
    /// For one who may wait, again and again.
    pub(crate) fn seat(&self) -> Seat {
        let mut room = Vec::new();
        loop {
            // Room is made while nothing is locked, as the allocator may be stuck.
            let seated = self.0.with(|seats| seats.sit_down(&mut room));
            match seated {
                Ok(index) => {
                    return Seat {
                        waiting: self.clone(),
                        index,
                        stranger: None,
                    };
                }
                Err(taken) => room = Vec::with_capacity(4.max(2 * taken)),
            }
        }
    }

    /// Wakes all who wait. It allocates nothing, and waits for nobody.
    pub(crate) fn wake_all(&self) {
        let mut from = 0;
        loop {
            let mut calls = [const { None }; AT_ONCE];
            let next = self.0.with(|seats| seats.call(from, &mut calls));
            HANDS
                .get()
                .take_over(calls.iter_mut().filter_map(Call::take_stranger));
            for call in calls {
                if let Some(Call::Known(waker)) = call {
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

impl Seats {
    /// Takes a free place. If there is none, `room` is used, which must be for more than are taken.
    fn sit_down(&mut self, room: &mut Vec<Place>) -> Result<usize, usize> {
        if let Some(index) = self.free {
            if let Place::Free { next } = self.seats[index] {
                self.free = next;
            }
            self.seats[index] = Place::Taken(None);
            return Ok(index);
        }
        if self.seats.len() == self.seats.capacity() {
            if room.capacity() <= self.seats.len() {
                return Err(self.seats.len());
            }
            room.append(&mut self.seats);
            std::mem::swap(&mut self.seats, room);
        }
        self.seats.push(Place::Taken(None));
        Ok(self.seats.len() - 1)
    }

    /// Has one wait, or no longer. Returns the call that it waited for until now.
    fn set(&mut self, index: usize, call: Option<Call>) -> Option<Call> {
        match std::mem::replace(&mut self.seats[index], Place::Taken(call)) {
            Place::Taken(before) => before,
            Place::Free { .. } => None,
        }
    }

    fn stand_up(&mut self, index: usize) -> Option<Call> {
        let call = self.set(index, None);
        self.seats[index] = Place::Free { next: self.free };
        self.free = Some(index);
        call
    }

    /// The calls for those who wait, from this place on. Returns where to go on, if `calls` is full.
    fn call(&mut self, from: usize, calls: &mut [Option<Call>; AT_ONCE]) -> Option<usize> {
        let mut calls = calls.iter_mut();
        for (index, place) in self.seats.iter_mut().enumerate().skip(from) {
            let Place::Taken(waits @ Some(_)) = place else {
                continue;
            };
            match calls.next() {
                Some(call) => *call = waits.take(),
                None => return Some(index),
            }
        }
        None
    }
}

/// One's place among those who wait.
#[derive(Debug)]
pub(crate) struct Seat {
    waiting: Waiting,
    index: usize,
    /// Once it has waited with a waker that is not known.
    stranger: Option<Arc<Stranger>>,
}

impl Seat {
    /// Has `waker` woken by the next [`Waiting::wake_all`]. What is waited for may have come before:
    /// look after this.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        let call = self.call(waker.clone());
        let before = self
            .waiting
            .0
            .with(|seats| seats.set(self.index, Some(call)));
        drop(before);
    }

    fn call(&mut self, waker: Waker) -> Call {
        if known::is_known(&waker) {
            return Call::Known(waker);
        }
        if self.stranger.is_none() {
            self.stranger = HANDS.get().admit();
        }
        match &self.stranger {
            Some(stranger) if HANDS.get().are_there() => {
                stranger.wait(waker);
                Call::Stranger(Arc::clone(stranger))
            }
            // The system refuses the thread.
            _ => Call::Known(waker),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let before = self.waiting.0.with(|seats| seats.stand_up(self.index));
        foreign::discard(before);
        if let Some(stranger) = &self.stranger {
            HANDS.get().dismiss(stranger);
        }
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn places_are_used_again_and_all_who_wait_are_woken_once() {
        struct Counts(AtomicUsize);
        impl std::task::Wake for Counts {
            fn wake(self: Arc<Counts>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let waiting = Waiting::default();
        let mut seats: Vec<Seat> = (0..3 * AT_ONCE).map(|_| waiting.seat()).collect();
        seats.truncate(2 * AT_ONCE);
        seats.extend((0..AT_ONCE).map(|_| waiting.seat()));
        assert_eq!(waiting.0.with(|seats| seats.seats.len()), 3 * AT_ONCE);

        let woken = Arc::new(Counts(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        for seat in &mut seats {
            // As if it were known.
            let call = Call::Known(waker.clone());
            waiting.0.with(|seats| seats.set(seat.index, Some(call)));
        }
        let allocated = allocation_counter::measure(|| waiting.wake_all());
        assert_eq!(allocated.count_total, 0);
        waiting.wake_all();
        assert_eq!(woken.0.load(Ordering::Relaxed), seats.len());
        drop(seats);
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
    fn what_is_told_is_seen_or_wakes() {
        loom::model(|| {
            // What is told, behind a lock of its own, as with a channel.
            let told = Arc::new(Lock::new(false));
            let waiting = Waiting::default();
            let woken = Arc::new(Counts::default());
            let teller = loom::thread::spawn({
                let (told, waiting) = (Arc::clone(&told), waiting.clone());
                move || {
                    told.with(|told| *told = true);
                    waiting.wake_all();
                }
            });
            let waker = Waker::from(Arc::clone(&woken));
            let mut seat = waiting.seat();
            seat.wait(&waker);
            let seen = told.with(|told| *told);
            teller.join().unwrap();
            assert!(seen || woken.0.load(Ordering::SeqCst) == 1);
        });
    }

    #[test]
    fn one_who_goes_while_others_come_and_all_are_woken_leaves_nothing() {
        loom::model(|| {
            let waiting = Waiting::default();
            let woken = Arc::new(Counts::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut stays = waiting.seat();
            stays.wait(&waker);
            let comes_and_goes = loom::thread::spawn({
                let (waiting, waker) = (waiting.clone(), waker.clone());
                move || {
                    let mut seat = waiting.seat();
                    seat.wait(&waker);
                    drop(seat);
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
