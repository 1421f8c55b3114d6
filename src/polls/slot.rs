//! One thread's slot: the polls that the thread is in, the outermost first. Who writes it when: `here.rs`. Who
//! wants to know: the watchdog.
//!
//! Only the thread itself writes what a poll is. A level is in use while its `poll` is not zero, and no number
//! is used twice. So whoever reads the same number before and after the rest has read what belongs to that
//! poll.

use std::time::{Duration, Instant};

use crate::stall::OsThread;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

/// How many futures within each other are told apart. A poll further inside belongs to the last of them.
pub(crate) const LEVELS: usize = 8;

/// Aligned, so that threads that poll share no cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ThreadSlot {
    pub(super) index: usize,
    pub(super) generation: u32,
    pub(super) epoch: Instant,
    levels: [Level; LEVELS],
    thread: Lock<Option<OsThread>>,
    /// The last number of a poll by a thread that has given the slot back.
    last_number: AtomicUsize,
}

#[derive(Debug, Default)]
struct Level {
    poll: AtomicUsize,
    future: AtomicUsize,
    watch: AtomicU32,
    began: AtomicUsize,
    /// When the watchdog saw a poll first.
    seen: OfPoll,
    /// For how long polls within a poll were reported themselves, in microseconds.
    reported: OfPoll,
}

/// A number that belongs to one poll. It has one writer.
#[derive(Debug, Default)]
struct OfPoll {
    poll: AtomicUsize,
    value: AtomicUsize,
}

/// When a poll began, in microseconds since the epoch; and in the lowest bit, whether it may have been later.
/// With 32 bits, it starts anew every 35 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Began(usize);

/// One poll of one thread. No other has the same identity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PollId {
    pub(crate) thread: usize,
    level: usize,
    number: usize,
}

/// A poll that goes on, or has just ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Running {
    pub(crate) poll: PollId,
    pub(crate) watch: u32,
    /// The index of the future's name.
    pub(crate) future: usize,
    /// For how long it has lasted for certain.
    pub(crate) lasted: Duration,
    /// For how long it may have lasted.
    pub(crate) at_most: Duration,
    /// For how long futures within this one were being polled whose polls were reported themselves.
    pub(crate) reported_within: Duration,
}

/// What a level needs to know of the poll that begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    /// Not zero.
    pub(super) number: usize,
    pub(super) watch: u32,
    pub(super) future: usize,
    pub(super) began: Began,
}

impl Began {
    pub(super) fn new(micros: usize, may_be_later: bool) -> Began {
        Began(micros << 1 | usize::from(may_be_later))
    }

    /// The time that has passed until `now`. A poll that began after that was read has lasted no time.
    fn passed(self, now: usize) -> Duration {
        since(self.0 & !1, now << 1) / 2
    }

    fn may_be_later(self) -> bool {
        self.0 & 1 == 1
    }
}

fn since(earlier: usize, later: usize) -> Duration {
    let micros = later.wrapping_sub(earlier);
    // The other way round it is more than half of the range.
    let is_reverse = micros > usize::MAX / 2;
    Duration::from_micros(if is_reverse { 0 } else { micros as u64 })
}

impl ThreadSlot {
    pub(super) fn new(index: usize, generation: u32, epoch: Instant) -> ThreadSlot {
        ThreadSlot {
            index,
            generation,
            epoch,
            levels: Default::default(),
            thread: Lock::default(),
            last_number: AtomicUsize::new(0),
        }
    }

    pub(super) fn last_number(&self) -> usize {
        self.last_number.load(Ordering::Relaxed)
    }

    pub(super) fn set_last_number(&self, number: usize) {
        self.last_number.store(number, Ordering::Relaxed);
    }

    pub(super) fn thread(&self) -> Option<OsThread> {
        self.thread.with(|thread| thread.clone())
    }

    pub(super) fn set_thread(&self, mut thread: Option<OsThread>) {
        self.thread
            .with(|current| std::mem::swap(current, &mut thread));
    }

    /// The time in microseconds since the epoch.
    pub(super) fn micros(&self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.epoch);
        let micros = (passed.as_secs() as usize).wrapping_mul(1_000_000);
        micros.wrapping_add(passed.subsec_micros() as usize)
    }

    /// For the thread itself: a poll begins on this level. Returns whether there is such a level.
    #[inline]
    pub(super) fn begin(&self, level: usize, beginning: Beginning) -> bool {
        let Some(level) = self.levels.get(level) else {
            return false;
        };
        // Whoever reads what follows also reads that the poll before has ended.
        fence(Ordering::Release);
        level.future.store(beginning.future, Ordering::Relaxed);
        level.watch.store(beginning.watch, Ordering::Relaxed);
        level.began.store(beginning.began.0, Ordering::Relaxed);
        level.poll.store(beginning.number, Ordering::Release);
        true
    }

    /// For the thread itself: the poll on this level has ended.
    #[inline]
    pub(super) fn end(&self, level: usize) {
        if let Some(level) = self.levels.get(level) {
            level.poll.store(0, Ordering::Release);
        }
    }

    /// For the thread itself: a poll on the level `outer` was reported, within the polls further outside. It
    /// was reported to one watch, which does not count the time twice.
    pub(super) fn add_reported(&self, outer: usize, watch: u32, reported: Duration) {
        for level in self.levels.iter().take(outer) {
            if level.watch.load(Ordering::Relaxed) == watch {
                let number = level.poll.load(Ordering::Relaxed);
                let micros = usize::try_from(reported.as_micros()).unwrap_or(usize::MAX);
                let before = level.reported.get(number).unwrap_or_default();
                level.reported.set(number, before.saturating_add(micros));
            }
        }
    }

    /// For the watchdog: reads the polls into `running`, the outermost first, and returns how many there are.
    pub(super) fn read(&self, now: usize, running: &mut [Running; LEVELS]) -> usize {
        for (level, into) in running.iter_mut().enumerate() {
            let poll = self.poll(level, now, |seen, number| {
                seen.get(number).unwrap_or_else(|| {
                    seen.set(number, now);
                    now
                })
            });
            match poll {
                Some(poll) => *into = poll,
                None => return level,
            }
        }
        LEVELS
    }

    /// For the thread itself: the poll on this level, at its end.
    pub(super) fn own(&self, level: usize, now: usize) -> Option<Running> {
        self.poll(level, now, |seen, number| seen.get(number).unwrap_or(now))
    }

    /// The poll on this level. `first_seen` is asked when the watchdog saw it first, if it is not known when
    /// it began.
    fn poll(
        &self,
        index: usize,
        now: usize,
        first_seen: impl FnOnce(&OfPoll, usize) -> usize,
    ) -> Option<Running> {
        let level = self.levels.get(index)?;
        let number = level.poll.load(Ordering::Acquire);
        if number == 0 {
            return None;
        }
        let began = Began(level.began.load(Ordering::Relaxed));
        let at_most = began.passed(now);
        let running = Running {
            poll: PollId {
                thread: self.index,
                level: index,
                number,
            },
            watch: level.watch.load(Ordering::Relaxed),
            future: level.future.load(Ordering::Relaxed),
            lasted: if began.may_be_later() {
                since(first_seen(&level.seen, number), now).min(at_most)
            } else {
                at_most
            },
            at_most,
            reported_within: Duration::from_micros(
                level.reported.get(number).unwrap_or_default() as u64
            ),
        };
        fence(Ordering::Acquire);
        (level.poll.load(Ordering::Relaxed) == number).then_some(running)
    }

    pub(super) fn is_in(&self, poll: PollId) -> bool {
        let level = self.levels.get(poll.level);
        level.is_some_and(|level| level.poll.load(Ordering::Acquire) == poll.number)
    }
}

impl OfPoll {
    fn get(&self, poll: usize) -> Option<usize> {
        let is_its = self.poll.load(Ordering::Acquire) == poll;
        is_its.then(|| self.value.load(Ordering::Relaxed))
    }

    fn set(&self, poll: usize, value: usize) {
        if self.poll.load(Ordering::Relaxed) != poll {
            // Until it is complete, it belongs to no poll.
            self.poll.store(0, Ordering::Relaxed);
            fence(Ordering::Release);
        }
        self.value.store(value, Ordering::Relaxed);
        self.poll.store(poll, Ordering::Release);
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::clock;

    fn slot() -> Arc<ThreadSlot> {
        Arc::new(ThreadSlot::new(0, 1, clock::now()))
    }

    fn beginning(number: usize) -> Beginning {
        Beginning {
            number,
            watch: u32::try_from(number).unwrap(),
            future: number,
            began: Began::new(number, false),
        }
    }

    #[test]
    fn what_is_read_belongs_to_one_poll() {
        loom::model(|| {
            let slot = slot();
            let polling = Arc::clone(&slot);
            let polls = thread::spawn(move || {
                polling.begin(0, beginning(1));
                polling.end(0);
                polling.begin(0, beginning(2));
            });
            let mut running = [Running::default(); LEVELS];
            if slot.read(10, &mut running) > 0 {
                let read = running[0];
                let number = read.poll.number;
                let lasted = Duration::from_micros(10 - number as u64);
                assert_eq!((read.future, read.watch as usize), (number, number));
                assert_eq!(read.lasted, lasted);
            }
            polls.join().unwrap();
            assert_eq!(slot.read(10, &mut running), 1);
            assert!(slot.is_in(running[0].poll));
        });
    }

    #[test]
    fn what_was_reported_within_a_poll_is_not_taken_for_that_of_another() {
        loom::model(|| {
            let slot = slot();
            slot.begin(0, beginning(1));
            slot.add_reported(1, 1, Duration::from_micros(7));
            let polling = Arc::clone(&slot);
            let polls = thread::spawn(move || {
                polling.end(0);
                polling.begin(0, beginning(2));
                polling.add_reported(1, 2, Duration::from_micros(3));
            });
            let mut running = [Running::default(); LEVELS];
            if slot.read(10, &mut running) > 0 {
                let read = running[0];
                let expected: &[u64] = if read.poll.number == 1 { &[7] } else { &[0, 3] };
                let micros = u64::try_from(read.reported_within.as_micros()).unwrap();
                assert!(expected.contains(&micros), "{read:?}");
            }
            polls.join().unwrap();
        });
    }
}
