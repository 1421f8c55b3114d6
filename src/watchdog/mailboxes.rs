//! The ways from the watchdog to the threads that help it.

use super::inspector::Order;
use std::sync::PoisonError;

use super::queue::{Full, Queue};
use super::reporter::News;
use super::thread::{SPARE_SLOTS, Slot};
use crate::sync::Mutex;

/// How many reports may wait to be published.
const MOST_REPORTS: usize = 1_024;

/// How many orders may wait to be followed.
const MOST_ORDERS: usize = 4_096;

#[derive(Debug)]
pub(super) struct Mailboxes {
    pub(super) inspector: Queue<Order>,
    pub(super) reporter: Queue<News>,
    slots: Mutex<Slots>,
}

/// How many runtimes are watched, and how many there is room for.
#[derive(Debug, Default)]
struct Slots {
    taken: usize,
    room: usize,
}

impl Mailboxes {
    pub(super) fn new() -> Mailboxes {
        let mailboxes = Mailboxes {
            inspector: Queue::new(MOST_ORDERS, || Order::Over),
            reporter: Queue::new(MOST_REPORTS, || News::Over),
            slots: Mutex::new(Slots::default()),
        };
        // For the end of it all.
        mailboxes.reserve();
        mailboxes
    }

    /// Makes room for what must not be lost of one watch.
    pub(super) fn reserve(&self) {
        // For its end, and for room that is not needed any more.
        self.inspector.reserve();
        self.inspector.reserve();
        self.reporter.reserve();
    }

    /// One more runtime is to be watched. Returns room for all, if there is not enough.
    pub(super) fn take_slot(&self) -> Option<Vec<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.taken += 1;
        if slots.taken + SPARE_SLOTS <= slots.room {
            return None;
        }
        slots.room = 2 * (slots.taken + SPARE_SLOTS);
        let room = slots.room;
        drop(slots);
        Some(Vec::with_capacity(room))
    }

    /// One is watched no longer, and the inspector has used what was reserved there.
    pub(super) fn give_slot_back(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.taken -= 1;
        drop(slots);
        self.inspector.release();
        self.inspector.release();
    }

    /// An order that may be lost: it is asked for again, or does without.
    pub(super) fn inspect(&self, order: Order) {
        self.inspector.push(order).ok();
    }

    pub(super) fn inspect_end(&self, order: Order) {
        self.inspector.push_reserved(order);
    }

    pub(super) fn report(&self, news: News) -> Result<(), Full> {
        self.reporter.push(news)
    }

    pub(super) fn report_end(&self, news: News) {
        self.reporter.push_reserved(news);
    }
}
