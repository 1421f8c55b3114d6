//! The watchdog's thread: when it looks at what, and how that comes and goes.
//!
//! Once it watches, it neither allocates nor frees memory, starts no thread, takes no lock that is held
//! while foreign code runs, and asks Tokio for nothing but counters. So it goes on whatever the program is
//! stuck in.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::awake_clock::{AwakeClock, AwakeInstant, EVERYDAY_LATENESS};
use super::gap::{self, Gap, GapEvidence, Spending};
use super::inbox::Inbox;
use super::lost_time::LostTime;
use super::mailboxes::{Mailboxes, SPARE_SLOTS};
use super::messages::{Command, Event};
use super::pauses;
use super::poll_watch::{Pass, PollWatch};
use super::runtime_watch::RuntimeWatch;
use crate::clock;
use crate::polls::{self, Polls};
use crate::stack;
use crate::threads;

/// The system's timers are no more precise.
const SHORTEST_WAIT: Duration = Duration::from_micros(100);

/// How long the watchdog sleeps at the most, and if nothing is due.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The size of the thread's stack, of which the system takes the program's thread-local variables. And how much of it
/// the watchdog may need at most.
const STACK: usize = 2 << 20;
const NEEDED_STACK: usize = 64 * 1_024;

/// Something for the watchdog to watch.
#[derive(Debug)]
pub(super) struct Arrival {
    watch: AnyWatch,
    /// Larger room for all watches, if the watchdog lacks it. In a box, so that the watchdog can send the
    /// former room away without an allocation.
    room: Option<Box<Slots>>,
}

impl Arrival {
    pub(super) fn new(watch: AnyWatch, mailboxes: &Mailboxes) -> Arrival {
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

/// One of the watches.
#[derive(Debug)]
struct Slot {
    /// When it is looked at next.
    due: AwakeInstant,
    watch: AnyWatch,
}

/// A watched runtime, or the instrumented futures of a monitor.
#[derive(Debug)]
pub(super) enum AnyWatch {
    Runtime(Box<RuntimeWatch>),
    Polls(Box<PollWatch>),
}

impl AnyWatch {
    fn polls(&mut self) -> Option<&mut PollWatch> {
        match self {
            AnyWatch::Runtime(_) => None,
            AnyWatch::Polls(watch) => Some(watch),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            AnyWatch::Runtime(watch) => watch.subject().is_over(),
            AnyWatch::Polls(watch) => watch.subject().is_over(),
        }
    }

    fn end(self, mailboxes: &Mailboxes) {
        match self {
            AnyWatch::Runtime(watch) => watch.end(mailboxes),
            AnyWatch::Polls(watch) => watch.end(mailboxes),
        }
    }
}

/// Starts the thread.
pub(super) fn start(
    inbox: &'static Inbox<Arrival, Mailboxes>,
    mailboxes: Arc<Mailboxes>,
) -> io::Result<()> {
    threads::spawn_with_stack("loopmon-watchdog", STACK, move || {
        stack::block_signals();
        touch_stack();
        run(inbox, &mailboxes);
    })
}

/// The system provides a stack page by page, at the first write to each. So this writes to more of it than is needed.
#[inline(never)]
fn touch_stack() {
    std::hint::black_box([1_u8; NEEDED_STACK]);
}

/// Watches until there is nothing left to watch.
fn run(inbox: &Inbox<Arrival, Mailboxes>, mailboxes: &Arc<Mailboxes>) {
    let mut watchdog = Watchdog {
        mailboxes: Arc::clone(mailboxes),
        slots: Vec::with_capacity(SPARE_SLOTS),
        clock: AwakeClock::new(clock::now()),
        spending: Spending::begin(),
        lost: LostTime::new(),
        polls: Polls::get(),
    };
    loop {
        let lost_before = watchdog.clock.time().lost;
        let in_pass = watchdog.clock.worked(clock::now());
        let wait = watchdog.wait();
        let has_left = inbox.wait(wait);
        let now = clock::now();
        let in_sleep = watchdog.clock.slept(now, wait);
        watchdog.judge_gap(in_pass, in_sleep, lost_before);
        watchdog.lost.update(now, watchdog.clock.time().lost);
        polls::tick();
        while let Some(arrival) = inbox.next() {
            watchdog.take(arrival);
        }
        let is_late = in_pass.is_some() || in_sleep.is_some();
        let mut is_faulty = watchdog.observe(is_late || has_left);
        is_faulty |= watchdog.observe_polls(is_late || has_left);
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
    spending: Spending,
    lost: LostTime,
    polls: &'static Polls,
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
            let AnyWatch::Runtime(watch) = &mut slot.watch else {
                continue;
            };
            if all || slot.due <= time.now {
                let observe = AssertUnwindSafe(|| watch.observe(time, mailboxes));
                match catch_unwind(observe) {
                    Ok(due) => slot.due = due,
                    // A bug of loopmon costs this one watch, and the panic hook has reported it.
                    Err(_) => {
                        watch.subject().end();
                        is_faulty = true;
                    }
                }
            }
        }
        is_faulty
    }

    /// Observes the polls of instrumented futures, if that is due for one monitor or if `always`: all threads
    /// in one pass. Returns whether that has failed.
    fn observe_polls(&mut self, always: bool) -> bool {
        let now = self.clock.time().now;
        let is_due = |slot: &mut Slot| slot.watch.polls().is_some() && (always || slot.due <= now);
        if !self.slots.iter_mut().any(is_due) {
            return false;
        }
        let pass = Pass {
            time: self.clock.time(),
            now: clock::now(),
            lost: &self.lost,
            mailboxes: &self.mailboxes,
            polls: self.polls,
        };
        let slots = &mut self.slots;
        let is_faulty = catch_unwind(AssertUnwindSafe(|| poll_pass(slots, &pass))).is_err();
        if is_faulty {
            let polls = slots.iter_mut().filter_map(|slot| slot.watch.polls());
            polls.for_each(|watch| watch.subject().end());
        }
        is_faulty
    }

    /// If the watchdog was late because of a pause, counts it.
    fn judge_gap(
        &mut self,
        in_pass: Option<Duration>,
        in_sleep: Option<Duration>,
        lost_before: Duration,
    ) {
        let (time, overslept) = (self.clock.time(), self.clock.overslept());
        let lost = time.lost.saturating_sub(lost_before);
        let noticed = in_pass.into_iter().chain(in_sleep).max();
        if noticed.is_none() && lost < EVERYDAY_LATENESS {
            return self.spending.refresh(time.now, overslept);
        }
        let late = noticed.unwrap_or(lost);
        let evidence = GapEvidence {
            late,
            in_pass: in_pass == Some(late),
            spent: self.spending.in_gap(late, time.now, overslept),
        };
        match (gap::judge(evidence), noticed) {
            (Gap::HeldUp, _) => self.clock.held_up(lost),
            (Gap::Paused, Some(_)) => pauses::add(late),
            (Gap::Crowded, Some(_)) => {}
            (Gap::Unknown, _) | (_, None) => pauses::add_unexplained(late),
        }
    }

    /// Ends the watches that are no longer wanted.
    fn end_watches(&mut self) {
        let is_over = |slot: &Slot| slot.watch.is_over();
        while let Some(index) = self.slots.iter().position(is_over) {
            self.slots.swap_remove(index).watch.end(&self.mailboxes);
        }
    }
}

/// A shorter poll is no stall, whatever the threshold.
const SHORTEST_POLL: Duration = Duration::from_micros(100);

/// Hands the polls that have ended, and those that go on, to the watches that want them.
fn poll_pass(slots: &mut [Slot], pass: &Pass<'_>) {
    while let Some(ended) = pass.polls.next_ended() {
        match poll_watch(slots, ended.poll.watch) {
            Some(watch) => watch.ended(ended, pass),
            None => pass
                .polls
                .drop_elsewhere(Some(ended.name), Some(ended.thread)),
        }
    }
    pass.polls.for_each_thread(pass.now, |thread| {
        for (index, running) in thread.iter().enumerate() {
            let is_long = running.lasted >= SHORTEST_POLL;
            let watch = is_long.then(|| poll_watch(slots, running.watch)).flatten();
            if let Some(watch) = watch {
                watch.see(thread, index, pass);
            }
        }
    });
    for slot in slots {
        if let Some(watch) = slot.watch.polls() {
            let due = watch.settle(pass);
            slot.due = due;
        }
    }
}

fn poll_watch(slots: &mut [Slot], number: u32) -> Option<&mut PollWatch> {
    let mut watches = slots.iter_mut().filter_map(|slot| slot.watch.polls());
    watches.find(|watch| watch.subject().watch == number)
}
