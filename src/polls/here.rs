//! What a thread keeps to itself of the polls that it is in, so that a poll costs it next to nothing.
//!
//! The clock is the dearest part of a short poll. A thread that polls very often reads it only now and then: it
//! then knows when a poll began at the earliest.

use std::cell::Cell;

use super::Polls;
use super::slot::{Began, ThreadSlot};
use crate::clock;
use crate::stack;
use crate::stall::OsThread;

/// If polls, and what is between them, take longer than this many microseconds on average, each reads the
/// clock.
const SHORT: usize = 2;

/// How many polls in a row do not read it, at the most: so many short ones take no more than some 100 us.
const MOST_UNREAD: usize = 63;

thread_local! {
    pub(super) static HERE: Here = const { Here::new() };
    /// Gives the slot back when the thread ends.
    static LEASE: Cell<Option<Lease>> = const { Cell::new(None) };
}

/// The calling thread. Its destructor does nothing, so it is there until the thread's last code.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) slot: Cell<Option<&'static ThreadSlot>>,
    /// How many polls the thread is in.
    pub(super) depth: Cell<usize>,
    /// The number of the last poll.
    last: Cell<usize>,
    /// When the clock was read last: for outermost polls, and for all others, which come in bursts.
    reading: [Reading; 2],
}

#[derive(Debug)]
struct Reading {
    micros: Cell<usize>,
    /// The tick of the watchdog at that time.
    ticks: Cell<usize>,
    /// How many polls may follow that do not read the clock, and how many of them are left.
    unread: Cell<usize>,
    left: Cell<usize>,
}

struct Lease {
    polls: &'static Polls,
    slot: &'static ThreadSlot,
}

impl Here {
    const fn new() -> Here {
        Here {
            slot: Cell::new(None),
            depth: Cell::new(0),
            last: Cell::new(0),
            reading: [const { Reading::new() }; 2],
        }
    }

    /// The number of the poll that begins.
    #[inline]
    pub(super) fn next_number(&self) -> usize {
        let number = self.last.get().wrapping_add(1).max(1);
        self.last.set(number);
        number
    }

    /// When the poll begins: now. `ticks` are those of the watchdog.
    #[inline]
    pub(super) fn began(&self, slot: &ThreadSlot, ticks: usize, is_exact: bool) -> Began {
        let reading = &self.reading[usize::from(self.depth.get() > 0)];
        let left = reading.left.get();
        if left == 0 || is_exact || reading.ticks.get() != ticks {
            return reading.read(slot, ticks);
        }
        reading.left.set(left - 1);
        Began::new(reading.micros.get(), true)
    }

    /// Takes a slot for the calling thread. `None` while the thread ends.
    #[cold]
    pub(super) fn enter(&self, polls: &'static Polls) -> Option<&'static ThreadSlot> {
        // So that the watchdog may ask the thread for its stack.
        stack::introduce();
        let slot = polls.take_slot()?;
        // If the thread ends, this gives the slot back at once.
        let lease = Lease { polls, slot };
        LEASE.try_with(|leased| leased.replace(Some(lease))).ok()?;
        slot.set_thread(Some(OsThread::current()));
        self.depth.set(0);
        // The thread that had the slot before has used the numbers below.
        self.last.set(self.last.get().max(slot.last_number()));
        self.slot.set(Some(slot));
        Some(slot)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let last = HERE.with(|here| {
            here.slot.set(None);
            here.last.get()
        });
        self.slot.set_thread(None);
        self.slot.set_last_number(last);
        self.polls.give_slot_back(self.slot);
    }
}

impl Reading {
    const fn new() -> Reading {
        Reading {
            micros: Cell::new(0),
            ticks: Cell::new(0),
            unread: Cell::new(0),
            left: Cell::new(0),
        }
    }

    fn read(&self, slot: &ThreadSlot, ticks: usize) -> Began {
        let now = slot.micros(clock::now());
        let passed = now.wrapping_sub(self.micros.get());
        let polls = 1 + self.unread.get() - self.left.get();
        let unread = if passed <= polls * SHORT {
            (2 * polls).min(MOST_UNREAD)
        } else {
            0
        };
        self.micros.set(now);
        self.ticks.set(ticks);
        self.unread.set(unread);
        self.left.set(unread);
        Began::new(now, false)
    }
}
