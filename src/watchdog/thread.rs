//! The watchdog's thread.
//!
//! From the first look on it neither allocates nor gives memory back, it starts no thread, waits for no
//! lock that is held while other code than ours runs, and asks Tokio for nothing but counters. So
//! whatever the program is stuck in, it goes on looking.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::awake_clock::AwakeClock;
use super::gap::{self, Gap, Known, OwnTimes};
use super::inbox::Inbox;
use super::inspector::Order;
use super::mailboxes::Mailboxes;
use super::pauses;
use super::reporter::News;
use super::runtime_watch::{At, RuntimeWatch};
use crate::clock;

/// A timer of the system is not more precise.
const SHORTEST_WAIT: Duration = Duration::from_micros(100);

/// How long it sleeps if nothing is due.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// How many runtimes more than are watched there is room for: several may come at once.
pub(super) const SPARE_SLOTS: usize = 16;

/// What comes in for it.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) watched: Box<RuntimeWatch>,
    /// Room for all that is watched by then, if there was not enough.
    pub(super) room: Option<Vec<Slot>>,
}

/// One of the runtimes under watch.
#[derive(Debug)]
pub(super) struct Slot {
    /// When, by credited time, to look at it next.
    due: Duration,
    watched: Box<RuntimeWatch>,
}

pub(super) fn watch(inbox: &Inbox<Arrival, Mailboxes>, mailboxes: &Arc<Mailboxes>) {
    let mut watchdog = Watchdog {
        mailboxes: Arc::clone(mailboxes),
        slots: Vec::with_capacity(SPARE_SLOTS),
        credit: AwakeClock::new(clock::now()),
        own: OwnTimes::begin(),
    };
    loop {
        let in_look = watchdog.credit.worked(clock::now());
        let wait = watchdog.wait();
        let has_left = inbox.wait(wait);
        let in_sleep = watchdog.credit.slept(clock::now(), wait);
        while let Some(arrival) = inbox.next() {
            watchdog.take(arrival);
        }
        let is_late = in_look.is_some() || in_sleep.is_some();
        let is_faulty = watchdog.look(is_late || has_left);
        watchdog.judge(in_look, in_sleep);
        if has_left || is_faulty {
            watchdog.let_go();
        }
        if watchdog.slots.is_empty() && inbox.may_end() {
            mailboxes.inspect_end(Order::Over);
            mailboxes.report_end(News::Over);
            return;
        }
    }
}

struct Watchdog {
    mailboxes: Arc<Mailboxes>,
    slots: Vec<Slot>,
    credit: AwakeClock,
    own: OwnTimes,
}

impl Watchdog {
    /// Until the next look that is due.
    fn wait(&self) -> Duration {
        let due = self.slots.iter().map(|slot| slot.due).min();
        let left = due.map_or(LONGEST_WAIT, |due| due.saturating_sub(self.credit.now()));
        left.clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    fn take(&mut self, arrival: Arrival) {
        let mut former = arrival.room;
        if let Some(room) = &mut former {
            if room.capacity() > self.slots.capacity() {
                room.append(&mut self.slots);
                std::mem::swap(room, &mut self.slots);
            }
        }
        self.slots.push(Slot {
            due: Duration::ZERO,
            watched: arrival.watched,
        });
        if let Some(former) = former {
            self.mailboxes.inspect_end(Order::Free(former));
        }
    }

    fn at(&self) -> At {
        At {
            now: self.credit.now(),
            lost: self.credit.lost(),
        }
    }

    /// Looks at what is due, or at all. Returns whether something is to be let go of.
    fn look(&mut self, all: bool) -> bool {
        let (at, mailboxes) = (self.at(), &self.mailboxes);
        let mut is_faulty = false;
        for slot in &mut self.slots {
            if all || slot.due <= at.now {
                let look = AssertUnwindSafe(|| slot.watched.look(at, mailboxes));
                match catch_unwind(look) {
                    Ok(due) => slot.due = due,
                    // A fault of ours costs this one watch, and the hook has reported it.
                    Err(_) => {
                        slot.watched.subject().end();
                        is_faulty = true;
                    }
                }
            }
        }
        is_faulty
    }

    /// Says what it was, if the watchdog was late.
    fn judge(&mut self, in_look: Option<Duration>, in_sleep: Option<Duration>) {
        let (now, overslept) = (self.credit.now(), self.credit.overslept());
        let Some(late) = in_look.into_iter().chain(in_sleep).max() else {
            return self.own.keep(now, overslept);
        };
        let known = Known {
            late,
            in_look: in_look == Some(late),
            times: self.own.in_gap(late, now, overslept),
        };
        if gap::judge(known) == Gap::Paused {
            pauses::add(late);
        }
    }

    fn let_go(&mut self) {
        let mailboxes = &self.mailboxes;
        while let Some(index) = self
            .slots
            .iter()
            .position(|slot| slot.watched.subject().is_over())
        {
            self.slots.swap_remove(index).watched.end(mailboxes);
        }
    }
}
