//! An instrumented future, apart from the future: its name, who wants its stalls, and the guard of a poll. What
//! a thread notes of a poll: `here.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::ended::EndedPoll;
use super::here::HERE;
use super::slot::{Beginning, ThreadSlot};
use super::{GENERATION, Polls, ticks};
use crate::clock;
use crate::stall::OsThread;

/// With a shorter threshold, a poll may be too long without a tick of the watchdog in it.
const SHORTEST_SEEN: Duration = Duration::from_millis(5);

/// No watch.
const NONE: u32 = 0;

/// Whether stalls of a monitor's futures are wanted, as the threads that poll them see it.
#[derive(Debug)]
pub(crate) struct Demand {
    threshold: Duration,
    /// Whether the beginning and the end of each poll are measured.
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
    generation: u32,
    index: usize,
    polls: &'static Polls,
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
        HERE.with(|here| {
            let generation = GENERATION.load(Ordering::Relaxed);
            let (slot, future) = match (here.slot.get(), &self.entry) {
                (Some(slot), Some(entry))
                    if slot.generation == generation && entry.generation == generation =>
                {
                    (slot, entry.index)
                }
                _ => self.enter_generation()?,
            };
            let (level, ticks) = (here.depth.get(), ticks());
            let beginning = Beginning {
                number: here.next_number(),
                watch,
                future,
                began: here.began(slot, ticks, self.demand.is_exact),
            };
            if !slot.begin(level, beginning) {
                return None;
            }
            here.depth.set(level + 1);
            Some(PollGuard {
                future: self,
                slot,
                level,
                ticks,
            })
        })
    }

    /// The first instrumented poll on this thread, or in this process.
    #[cold]
    fn enter_generation(&mut self) -> Option<(&'static ThreadSlot, usize)> {
        let polls = Polls::get();
        let is_old = |entry: &Entry| entry.generation != polls.generation;
        if self.entry.as_ref().is_none_or(is_old) {
            self.entry = Entry::new(&self.name);
        }
        let index = self.entry.as_ref()?.index;
        let here = HERE.with(|here| match here.slot.get() {
            Some(slot) if slot.generation == polls.generation => Some(slot),
            _ => here.enter(polls),
        });
        Some((here?, index))
    }
}

impl Entry {
    fn new(name: &Arc<str>) -> Option<Entry> {
        let polls = Polls::get();
        Some(Entry {
            generation: polls.generation,
            index: polls.take_name(Arc::clone(name))?,
            polls,
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.polls.give_name_back(self.index);
    }
}

/// A poll that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct PollGuard<'a> {
    future: &'a PolledFuture,
    slot: &'static ThreadSlot,
    level: usize,
    /// The ticks of the watchdog when the poll began.
    ticks: usize,
}

impl PollGuard<'_> {
    /// The poll may have been too long.
    #[cold]
    fn measure(&self) {
        let ended = clock::now();
        let (slot, demand) = (self.slot, &self.future.demand);
        let Some(poll) = slot.own(self.level, slot.micros(ended)) else {
            return;
        };
        if poll.lasted.saturating_sub(poll.reported_within) < demand.threshold {
            return;
        }
        let reported = poll.at_most.saturating_sub(poll.reported_within);
        slot.add_reported(self.level, poll.watch, reported);
        Polls::get().end(EndedPoll {
            poll,
            name: Arc::clone(&self.future.name),
            thread: OsThread::current(),
            ended,
        });
    }
}

impl Drop for PollGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ticks != ticks() || self.future.demand.is_exact {
            self.measure();
        }
        self.slot.end(self.level);
        HERE.with(|here| here.depth.set(self.level));
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
                polling.slot.index
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
