//! An instrumented future, and what a poll of it costs the thread that polls it: a clock read, and a few stores
//! that no other thread competes for. What is read of that, and by whom: `polls.rs`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::ended::EndedPoll;
use super::slot::{Beginning, PollId, ThreadSlot, micros};
use super::{GENERATION, Polls, TICKS};
use crate::clock;
use crate::stack;
use crate::stall::OsThread;

/// With a shorter threshold, a poll may be too long without a tick of the watchdog in it.
const SHORTEST_SEEN: Duration = Duration::from_millis(5);

/// No watch.
const NONE: u32 = 0;

/// Whether stalls of a monitor's futures are wanted, as the threads that poll them see it.
#[derive(Debug)]
pub(crate) struct Demand {
    threshold: Duration,
    /// Whether the end of each poll is measured.
    is_exact: bool,
    /// Whether there ever was a future.
    has_futures: AtomicBool,
    /// The number of the watch that wants them.
    watch: AtomicU32,
}

impl Demand {
    pub(crate) fn new(threshold: Duration) -> Demand {
        Demand {
            threshold,
            is_exact: threshold < SHORTEST_SEEN,
            has_futures: AtomicBool::new(false),
            watch: AtomicU32::new(NONE),
        }
    }

    /// Whether there are futures, and no watch.
    pub(crate) fn is_unmet(&self) -> bool {
        self.has_futures.load(Ordering::Relaxed) && self.watch.load(Ordering::Relaxed) == NONE
    }

    /// A watch begins. Returns its number, which no other has.
    pub(crate) fn begin_watch(&self) -> u32 {
        static LAST: AtomicU32 = AtomicU32::new(NONE);
        let number = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        self.watch.store(number, Ordering::Relaxed);
        number
    }

    /// The watch with this number ends.
    pub(crate) fn end_watch(&self, number: u32) {
        let (seen, none) = (Ordering::Relaxed, Ordering::Relaxed);
        self.watch.compare_exchange(number, NONE, seen, none).ok();
    }
}

/// An instrumented future, apart from the future.
#[derive(Debug)]
pub(crate) struct PolledFuture {
    name: Arc<str>,
    demand: Arc<Demand>,
    /// Where the watchdog finds the name.
    entry: Option<Entry>,
}

/// The name's place in the table of this generation.
#[derive(Debug)]
struct Entry {
    polls: &'static Polls,
    index: usize,
}

impl PolledFuture {
    pub(crate) fn new(name: Arc<str>, demand: Arc<Demand>) -> PolledFuture {
        demand.has_futures.store(true, Ordering::Relaxed);
        let entry = Entry::new(&name);
        PolledFuture {
            name,
            demand,
            entry,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// A poll begins, which goes on until the guard is dropped.
    #[inline]
    pub(crate) fn begin(&mut self) -> Option<PollGuard<'_>> {
        let watch = self.demand.watch.load(Ordering::Relaxed);
        if watch == NONE {
            return None;
        }
        let generation = GENERATION.load(Ordering::Relaxed);
        let here = HERE.try_with(Cell::get).ok()?;
        let (here, index) = match (here, &self.entry) {
            (Some(here), Some(entry))
                if here.generation == generation && entry.polls.generation == generation =>
            {
                (here, entry.index)
            }
            _ => self.enter_generation()?,
        };
        let began = clock::now();
        let beginning = Beginning {
            watch,
            future: index,
            began: micros(here.epoch, began),
        };
        let number = here.slot.begin(here.depth, beginning)?;
        HERE.set(Some(Here {
            depth: here.depth + 1,
            ..here
        }));
        Some(PollGuard {
            future: self,
            here,
            number,
            watch,
            began,
            ticks: TICKS.load(Ordering::Relaxed),
        })
    }

    /// The first instrumented poll on this thread, or in this process.
    #[cold]
    fn enter_generation(&mut self) -> Option<(Here, usize)> {
        let polls = Polls::get();
        if self
            .entry
            .as_ref()
            .is_none_or(|entry| entry.polls.generation != polls.generation)
        {
            self.entry = Entry::new(&self.name);
        }
        let entry = self.entry.as_ref()?;
        Some((Here::enter(polls)?, entry.index))
    }
}

impl Entry {
    fn new(name: &Arc<str>) -> Option<Entry> {
        let polls = Polls::get();
        let mut name = Some(Arc::clone(name));
        let (index, entry) = polls.names.take()?;
        entry.with(|entry| std::mem::swap(entry, &mut name));
        Some(Entry { polls, index })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let entry = self.polls.names.get(self.index);
        drop(entry.map(|entry| entry.with(Option::take)));
        self.polls.names.give_back(self.index);
    }
}

/// The calling thread's slot.
#[derive(Debug, Clone, Copy)]
struct Here {
    generation: u32,
    slot: &'static ThreadSlot,
    /// The slot's index.
    thread: usize,
    epoch: Instant,
    /// How many polls the thread is in.
    depth: usize,
}

thread_local! {
    static HERE: Cell<Option<Here>> = const { Cell::new(None) };
    /// Gives the slot back when the thread ends.
    static LEASE: Cell<Option<Lease>> = const { Cell::new(None) };
}

struct Lease {
    polls: &'static Polls,
    thread: usize,
}

impl Here {
    /// Takes a slot for the calling thread. `None` while the thread ends.
    fn enter(polls: &'static Polls) -> Option<Here> {
        // So that the watchdog may ask the thread for its stack.
        stack::introduce();
        let (thread, slot) = polls.threads.take()?;
        let lease = Lease { polls, thread };
        // If the thread ends, this gives the slot back at once.
        LEASE.try_with(|leased| leased.replace(Some(lease))).ok()?;
        slot.set_thread(Some(OsThread::current()));
        let here = Here {
            generation: polls.generation,
            slot,
            thread,
            epoch: polls.epoch,
            depth: 0,
        };
        HERE.try_with(|current| current.set(Some(here))).ok()?;
        Some(here)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(slot) = self.polls.threads.get(self.thread) {
            slot.set_thread(None);
        }
        // A guard that is still to be dropped knows the slot by itself.
        HERE.try_with(|here| here.set(None)).ok();
        self.polls.threads.give_back(self.thread);
    }
}

/// A poll that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct PollGuard<'a> {
    future: &'a PolledFuture,
    here: Here,
    number: usize,
    watch: u32,
    began: Instant,
    /// The ticks of the watchdog when the poll began.
    ticks: usize,
}

impl PollGuard<'_> {
    /// The poll may have been too long.
    #[cold]
    fn measure(&self) {
        let ended = clock::now();
        let lasted = ended.saturating_duration_since(self.began);
        let Here { slot, depth, .. } = self.here;
        let poll = PollId {
            thread: self.here.thread,
            level: depth,
            number: self.number,
        };
        let reported_within = slot.reported_within(poll);
        let reported = lasted.saturating_sub(reported_within);
        if reported < self.future.demand.threshold {
            return;
        }
        slot.add_reported(depth, self.watch, reported);
        Polls::get().ended.push(EndedPoll {
            poll,
            watch: self.watch,
            name: Arc::clone(&self.future.name),
            thread: OsThread::current(),
            began: self.began,
            ended,
            reported_within,
        });
    }
}

impl Drop for PollGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ticks != TICKS.load(Ordering::Relaxed) || self.future.demand.is_exact {
            self.measure();
        }
        self.here.slot.end(self.here.depth);
        HERE.set(Some(self.here));
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::polls::LEVELS;

    /// A poll with polls within.
    #[derive(Debug, Clone)]
    struct Tree {
        demand: usize,
        within: Vec<Tree>,
        panics: bool,
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = (0..3_usize, any::<bool>()).prop_map(|(demand, panics)| Tree {
            demand,
            within: Vec::new(),
            panics,
        });
        leaf.prop_recursive(12, 64, 3, |tree| {
            (0..3_usize, vec(tree, 0..3), any::<bool>()).prop_map(|(demand, within, panics)| Tree {
                demand,
                within,
                panics,
            })
        })
    }

    /// The polls that this thread is in, by their watches and names.
    fn seen(watches: &[u32]) -> Vec<(u32, String)> {
        let (polls, mut seen) = (Polls::get(), Vec::new());
        polls.for_each_thread(clock::now(), |thread| {
            if watches.contains(&thread[0].watch) {
                let name = |future| polls.name(future).unwrap().to_string();
                seen = thread
                    .iter()
                    .map(|poll| (poll.watch, name(poll.future)))
                    .collect();
            }
        });
        seen
    }

    fn poll(tree: &Tree, demands: &[Arc<Demand>; 3], above: &mut Vec<(u32, String)>) {
        let name = format!("{} {}", above.len(), tree.within.len());
        let demand = Arc::clone(&demands[tree.demand]);
        let watch = demand.watch.load(Ordering::Relaxed);
        let mut future = PolledFuture::new(name.as_str().into(), demand);
        let polling = future.begin();
        let depth = above.len();
        if watch != NONE && depth < LEVELS {
            above.push((watch, name));
        }
        let watches = [&demands[0], &demands[1]].map(|demand| demand.watch.load(Ordering::Relaxed));
        assert_eq!(seen(&watches), *above);
        for within in &tree.within {
            let polled = catch_unwind(AssertUnwindSafe(|| poll(within, demands, above)));
            if let Err(panic) = polled {
                assert!(
                    panic.is::<&Tree>() || panic.is::<Tree>(),
                    "a failed assertion"
                );
            }
            assert_eq!(seen(&watches), *above);
        }
        above.truncate(depth);
        if tree.panics {
            std::panic::resume_unwind(Box::new(tree.clone()));
        }
        drop(polling);
    }

    proptest! {
        #[test]
        fn the_watchdog_sees_what_is_being_polled(trees in vec(trees(), 1..4)) {
            let demands: [_; 3] = std::array::from_fn(|_| Arc::new(Demand::new(Duration::from_secs(9))));
            // Nobody wants the stalls of the third.
            let watches = [demands[0].begin_watch(), demands[1].begin_watch()];
            for tree in &trees {
                let polled = catch_unwind(AssertUnwindSafe(|| poll(tree, &demands, &mut Vec::new())));
                if let Err(panic) = polled {
                    prop_assert!(panic.is::<Tree>(), "a failed assertion");
                }
                prop_assert_eq!(seen(&watches), []);
            }
        }
    }

    #[test]
    fn a_thread_that_ends_gives_its_slot_back() {
        let demand = Arc::new(Demand::new(Duration::from_secs(9)));
        demand.begin_watch();
        let slot_of_a_thread = || {
            let demand = Arc::clone(&demand);
            let thread = std::thread::Builder::new().spawn(move || {
                let mut future = PolledFuture::new("short".into(), demand);
                let polling = future.begin().unwrap();
                polling.here.thread
            });
            thread.unwrap().join().unwrap()
        };
        // Other tests take slots meanwhile.
        let slots: std::collections::HashSet<_> = (0..200).map(|_| slot_of_a_thread()).collect();
        assert!(slots.len() < 150, "{}", slots.len());
    }

    #[test]
    fn a_poll_neither_allocates_nor_is_seen_unless_wanted() {
        let demand = Arc::new(Demand::new(Duration::from_secs(9)));
        let mut future = PolledFuture::new("often".into(), Arc::clone(&demand));
        assert!(future.begin().is_none());
        let watch = demand.begin_watch();
        drop(future.begin());
        let polled = allocation_counter::measure(|| (0..100).for_each(|_| drop(future.begin())));
        assert_eq!(polled.count_total, 0);
        demand.end_watch(watch + 1);
        assert!(future.begin().is_some());
        demand.end_watch(watch);
        assert!(future.begin().is_none());
    }
}
