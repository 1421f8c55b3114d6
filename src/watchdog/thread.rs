//! The watchdog's thread: when it looks at which runtime, and how runtimes come and go.
//!
//! Once it watches, it neither allocates nor frees memory, starts no thread, takes no lock that is held
//! while foreign code runs, and asks Tokio for nothing but counters. So it goes on whatever the program is
//! stuck in.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::awake_clock::{AwakeClock, AwakeInstant};
use super::gap::{self, Gap, GapEvidence, OwnTimes};
use super::inbox::Inbox;
use super::mailboxes::{Mailboxes, SPARE_SLOTS};
use super::messages::{Command, Event};
use super::pauses;
use super::runtime_watch::RuntimeWatch;
use crate::clock;

/// The system's timers are no more precise.
const SHORTEST_WAIT: Duration = Duration::from_micros(100);

/// How long the watchdog sleeps if nothing is due.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// A runtime for the watchdog to watch.
#[derive(Debug)]
pub(super) struct Arrival {
    watch: Box<RuntimeWatch>,
    /// Larger room for all runtimes, if the watchdog lacks it. In a box, so that the watchdog can send the
    /// former room away without an allocation.
    room: Option<Box<Slots>>,
}

impl Arrival {
    pub(super) fn new(watch: Box<RuntimeWatch>, mailboxes: &Mailboxes) -> Arrival {
        mailboxes.reserve();
        let room = mailboxes.take_slot();
        Arrival {
            watch,
            room: room.map(|room| Box::new(Slots(Vec::with_capacity(room)))),
        }
    }
}

#[derive(Debug)]
struct Slots(Vec<Slot>);

/// One of the watched runtimes.
#[derive(Debug)]
struct Slot {
    /// When the runtime is looked at next.
    due: AwakeInstant,
    watch: Box<RuntimeWatch>,
}

/// Watches until there is nothing left to watch.
pub(super) fn run(inbox: &Inbox<Arrival, Mailboxes>, mailboxes: &Arc<Mailboxes>) {
    let mut watchdog = Watchdog {
        mailboxes: Arc::clone(mailboxes),
        slots: Vec::with_capacity(SPARE_SLOTS),
        clock: AwakeClock::new(clock::now()),
        own_times: OwnTimes::begin(),
    };
    loop {
        let in_pass = watchdog.clock.worked(clock::now());
        let wait = watchdog.wait();
        let has_left = inbox.wait(wait);
        let in_sleep = watchdog.clock.slept(clock::now(), wait);
        while let Some(arrival) = inbox.next() {
            watchdog.take(arrival);
        }
        let is_late = in_pass.is_some() || in_sleep.is_some();
        let is_faulty = watchdog.observe(is_late || has_left);
        watchdog.judge_gap(in_pass, in_sleep);
        if has_left || is_faulty {
            watchdog.end_watches();
        }
        if watchdog.slots.is_empty() && inbox.may_end() {
            mailboxes.command_reserved(Command::Stop);
            mailboxes.event_reserved(Event::Stop);
            return;
        }
    }
}

struct Watchdog {
    mailboxes: Arc<Mailboxes>,
    slots: Vec<Slot>,
    clock: AwakeClock,
    own_times: OwnTimes,
}

impl Watchdog {
    /// How long until something is due.
    fn wait(&self) -> Duration {
        let due = self.slots.iter().map(|slot| slot.due).min();
        let left = due.map_or(LONGEST_WAIT, |due| due.since(self.clock.time().now));
        left.clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    fn take(&mut self, arrival: Arrival) {
        let mut former = arrival.room;
        if let Some(room) = &mut former {
            if room.0.capacity() > self.slots.capacity() {
                room.0.append(&mut self.slots);
                mem::swap(&mut room.0, &mut self.slots);
            }
        }
        self.slots.push(Slot {
            due: AwakeInstant::START,
            watch: arrival.watch,
        });
        if let Some(former) = former {
            self.mailboxes.command_reserved(Command::Free(former));
        }
    }

    /// Observes the runtimes that are due, or all. Returns whether a watch has failed.
    fn observe(&mut self, all: bool) -> bool {
        let (time, mailboxes) = (self.clock.time(), &self.mailboxes);
        let mut is_faulty = false;
        for slot in &mut self.slots {
            if all || slot.due <= time.now {
                let observe = AssertUnwindSafe(|| slot.watch.observe(time, mailboxes));
                match catch_unwind(observe) {
                    Ok(due) => slot.due = due,
                    // A bug of loopmon costs this one watch, and the panic hook has reported it.
                    Err(_) => {
                        slot.watch.subject().end();
                        is_faulty = true;
                    }
                }
            }
        }
        is_faulty
    }

    /// Counts a pause, if the watchdog was late because of one.
    fn judge_gap(&mut self, in_pass: Option<Duration>, in_sleep: Option<Duration>) {
        let (now, overslept) = (self.clock.time().now, self.clock.overslept());
        let Some(late) = in_pass.into_iter().chain(in_sleep).max() else {
            return self.own_times.refresh(now, overslept);
        };
        let evidence = GapEvidence {
            late,
            in_pass: in_pass == Some(late),
            times: self.own_times.in_gap(late, now, overslept),
        };
        if gap::judge(evidence) == Gap::Paused {
            pauses::add(late);
        }
    }

    /// Ends the watches that are no longer wanted.
    fn end_watches(&mut self) {
        let is_over = |slot: &Slot| slot.watch.subject().is_over();
        while let Some(index) = self.slots.iter().position(is_over) {
            self.slots.swap_remove(index).watch.end(&self.mailboxes);
        }
    }
}
