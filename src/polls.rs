//! Which instrumented futures are being polled, on which threads, and since when. What a future looks like to
//! its user: `instrument.rs`. When a poll counts as a stall: `watchdog/poll_watch.rs`.
//!
//! Each thread has a slot (`polls/slot.rs`). The thread writes it at the start and the end of a poll
//! (`polls/future.rs`, `polls/here.rs`), and the watchdog reads it: neither takes a lock or allocates. Slots, and the names of the futures, are in tables
//! that only grow (`polls/table.rs`). A thread that sees the watchdog tick during a poll measures that poll,
//! and reports it if it was too long (`polls/ended.rs`).

mod ended;
mod future;
mod here;
mod slot;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

pub(crate) use ended::EndedPoll;
pub(crate) use future::{Demand, PolledFuture};
pub(crate) use slot::{PollId, Running};

use crate::clock;
use crate::per_process::PerProcess;
use crate::stall::OsThread;
use crate::sync::Lock;
use ended::Ended;
use slot::{LEVELS, ThreadSlot};
use table::Table;

static POLLS: PerProcess<Polls> = PerProcess::new(Polls::new);

/// The number of the newest [`Polls`]: another after a fork.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Counts the ticks of the watchdog. A poll that saw none was short.
static TICKS: AtomicUsize = AtomicUsize::new(0);

/// All that this process polls.
#[derive(Debug)]
pub(crate) struct Polls {
    generation: u32,
    epoch: Instant,
    threads: Table<ThreadSlot>,
    names: Table<Lock<Option<Arc<str>>>>,
    ended: Ended,
}

impl Polls {
    fn new() -> Polls {
        Polls {
            generation: GENERATION.fetch_add(1, Ordering::Relaxed) + 1,
            epoch: clock::now(),
            threads: Table::new(),
            names: Table::new(),
            ended: Ended::new(),
        }
    }

    pub(crate) fn get() -> &'static Polls {
        POLLS.get()
    }

    /// Calls `see` with the polls of each thread that polls, the outermost first. Takes no lock.
    pub(crate) fn for_each_thread(&'static self, now: Instant, mut see: impl FnMut(&[Running])) {
        for slot in self.threads.iter() {
            let mut running = [Running::default(); LEVELS];
            let depth = slot.read(slot.micros(now), &mut running);
            if depth > 0 {
                see(&running[..depth]);
            }
        }
    }

    /// The name of the future with this index.
    pub(crate) fn name(&self, index: usize) -> Option<Arc<str>> {
        self.names.get(index)?.with(|name| name.clone())
    }

    /// The next poll that has ended after more than the threshold.
    pub(crate) fn next_ended(&self) -> Option<EndedPoll> {
        self.ended.pop()
    }

    /// Has a thread that polls drop this: the watchdog frees nothing.
    pub(crate) fn drop_elsewhere(&self, name: Option<Arc<str>>, thread: Option<OsThread>) {
        if name.is_some() || thread.is_some() {
            self.ended.drop_elsewhere(name, thread);
        }
    }

    /// Whether the poll goes on.
    pub(crate) fn is_running(&self, poll: PollId) -> bool {
        let slot = self.threads.get(poll.thread);
        slot.is_some_and(|slot| slot.is_in(poll))
    }

    /// The thread that is in the poll, if that goes on.
    pub(crate) fn thread(&self, poll: PollId) -> Option<OsThread> {
        let thread = self.threads.get(poll.thread)?.thread();
        thread.filter(|_| self.is_running(poll))
    }
}

/// What the threads that poll use.
impl Polls {
    fn take_slot(&self) -> Option<&ThreadSlot> {
        let new = |index| ThreadSlot::new(index, self.generation, self.epoch);
        self.threads.take(new).map(|(_, slot)| slot)
    }

    fn give_slot_back(&self, slot: &ThreadSlot) {
        self.threads.give_back(slot.index);
    }

    fn take_name(&self, name: Arc<str>) -> Option<usize> {
        let (index, entry) = self.names.take(|_| Lock::default())?;
        let mut name = Some(name);
        entry.with(|entry| std::mem::swap(entry, &mut name));
        Some(index)
    }

    fn give_name_back(&self, index: usize) {
        let entry = self.names.get(index);
        drop(entry.map(|entry| entry.with(Option::take)));
        self.names.give_back(index);
    }

    fn end(&self, poll: EndedPoll) {
        self.ended.push(poll);
    }
}

/// The watchdog ticks.
pub(crate) fn tick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

fn ticks() -> usize {
    TICKS.load(Ordering::Relaxed)
}
