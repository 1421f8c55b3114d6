//! One thread's slot: the polls that the thread is in, the outermost first. Who wants to know of them:
//! `future.rs`.
//!
//! Only the thread itself writes its slot. A level is in use while its `poll` is not zero; so whoever reads the
//! same number before and after the rest has read what belongs to that poll. No number is used twice.

use std::time::{Duration, Instant};

use crate::stall::OsThread;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

/// How many futures within each other are told apart. A poll further inside belongs to the last of them.
pub(crate) const LEVELS: usize = 8;

/// Aligned, so that threads that poll share no cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ThreadSlot {
    levels: [Level; LEVELS],
    /// The number of the last poll.
    last: AtomicUsize,
    thread: Lock<Option<OsThread>>,
}

#[derive(Debug, Default)]
struct Level {
    poll: AtomicUsize,
    future: AtomicUsize,
    watch: AtomicU32,
    /// In microseconds since the epoch.
    began: AtomicUsize,
    /// For how long, in microseconds, polls within this one were reported themselves. Belongs to the poll with
    /// this number.
    reported: [AtomicUsize; 2],
}

/// One poll of one thread. No other has the same identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PollId {
    pub(crate) thread: usize,
    pub(super) level: usize,
    pub(super) number: usize,
}

/// A poll that goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) poll: PollId,
    pub(crate) watch: u32,
    /// The index of the future's name.
    pub(crate) future: usize,
    pub(crate) lasted: Duration,
    /// For how long futures within this one were being polled whose polls were reported themselves.
    pub(crate) reported_within: Duration,
}

impl Running {
    pub(crate) const NONE: Running = Running {
        poll: PollId {
            thread: 0,
            level: 0,
            number: 0,
        },
        watch: 0,
        future: 0,
        lasted: Duration::ZERO,
        reported_within: Duration::ZERO,
    };
}

/// What a level needs to know of the poll that begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    pub(super) watch: u32,
    pub(super) future: usize,
    pub(super) began: usize,
}

/// The time since the epoch in microseconds. With 32 bits, it starts anew every 71 minutes.
pub(super) fn micros(epoch: Instant, now: Instant) -> usize {
    let passed = now.saturating_duration_since(epoch);
    let micros = (passed.as_secs() as usize).wrapping_mul(1_000_000);
    micros.wrapping_add(passed.subsec_micros() as usize)
}

impl ThreadSlot {
    pub(super) fn thread(&self) -> Option<OsThread> {
        self.thread.with(|thread| thread.clone())
    }

    pub(super) fn set_thread(&self, mut thread: Option<OsThread>) {
        self.thread
            .with(|current| std::mem::swap(current, &mut thread));
    }

    /// For the thread itself: a poll begins on this level. Returns its number.
    pub(super) fn begin(&self, level: usize, beginning: Beginning) -> Option<usize> {
        let level = self.levels.get(level)?;
        let number = self.last.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.last.store(number, Ordering::Relaxed);
        // Whoever reads what follows also reads that the poll before has ended.
        fence(Ordering::Release);
        level.future.store(beginning.future, Ordering::Relaxed);
        level.watch.store(beginning.watch, Ordering::Relaxed);
        level.began.store(beginning.began, Ordering::Relaxed);
        level.poll.store(number, Ordering::Release);
        Some(number)
    }

    /// For the thread itself: the poll on this level has ended.
    pub(super) fn end(&self, level: usize) {
        if let Some(level) = self.levels.get(level) {
            level.poll.store(0, Ordering::Release);
        }
    }

    /// For the thread itself: for how long polls within this one were reported.
    pub(super) fn reported_within(&self, poll: PollId) -> Duration {
        self.levels
            .get(poll.level)
            .map_or(Duration::ZERO, |level| level.reported_within(poll.number))
    }

    /// For the thread itself: a poll was reported that was within all of the outer polls that the same watch
    /// wants.
    pub(super) fn add_reported(&self, outer: usize, watch: u32, reported: Duration) {
        for level in self.levels.iter().take(outer) {
            if level.watch.load(Ordering::Relaxed) == watch {
                let number = level.poll.load(Ordering::Relaxed);
                let sum = level.reported_within(number) + reported;
                let micros = usize::try_from(sum.as_micros()).unwrap_or(usize::MAX);
                level.set_reported(number, micros);
            }
        }
    }

    /// For the watchdog: reads the polls into `running`, and returns how many there are.
    pub(super) fn read(&self, thread: usize, now: usize, running: &mut [Running; LEVELS]) -> usize {
        for (index, level) in self.levels.iter().enumerate() {
            let number = level.poll.load(Ordering::Acquire);
            if number == 0 {
                return index;
            }
            running[index] = Running {
                poll: PollId {
                    thread,
                    level: index,
                    number,
                },
                watch: level.watch.load(Ordering::Relaxed),
                future: level.future.load(Ordering::Relaxed),
                lasted: lasted(level.began.load(Ordering::Relaxed), now),
                reported_within: level.reported_within(number),
            };
            fence(Ordering::Acquire);
            if level.poll.load(Ordering::Relaxed) != number {
                return index;
            }
        }
        LEVELS
    }

    pub(super) fn is_in(&self, poll: PollId) -> bool {
        let level = self.levels.get(poll.level);
        level.is_some_and(|level| level.poll.load(Ordering::Acquire) == poll.number)
    }
}

impl Level {
    fn set_reported(&self, number: usize, micros: usize) {
        let [of, within] = &self.reported;
        if of.load(Ordering::Relaxed) != number {
            // Until it is complete, it belongs to no poll.
            of.store(0, Ordering::Relaxed);
            fence(Ordering::Release);
        }
        within.store(micros, Ordering::Relaxed);
        of.store(number, Ordering::Release);
    }

    fn reported_within(&self, number: usize) -> Duration {
        let [of, within] = &self.reported;
        if of.load(Ordering::Acquire) != number {
            return Duration::ZERO;
        }
        Duration::from_micros(within.load(Ordering::Relaxed) as u64)
    }
}

/// The time from one point to another. A poll that began after `now` was read has lasted no time.
fn lasted(began: usize, now: usize) -> Duration {
    let micros = now.wrapping_sub(began);
    // The other way round it is more than half of the range.
    let is_later = micros > usize::MAX / 2;
    Duration::from_micros(if is_later { 0 } else { micros as u64 })
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn beginning(number: usize) -> Beginning {
        Beginning {
            watch: u32::try_from(number).unwrap(),
            future: number,
            began: number,
        }
    }

    #[test]
    fn what_is_read_belongs_to_one_poll() {
        loom::model(|| {
            let slot = Arc::new(ThreadSlot::default());
            let polling = Arc::clone(&slot);
            let polls = thread::spawn(move || {
                assert_eq!(polling.begin(0, beginning(1)), Some(1));
                polling.end(0);
                assert_eq!(polling.begin(0, beginning(2)), Some(2));
            });
            let mut running = [Running::NONE; LEVELS];
            if slot.read(0, 10, &mut running) > 0 {
                let read = running[0];
                let number = read.poll.number;
                let lasted = Duration::from_micros(10 - number as u64);
                assert_eq!((read.future, read.watch as usize), (number, number));
                assert_eq!(read.lasted, lasted);
            }
            polls.join().unwrap();
            assert_eq!(slot.read(0, 10, &mut running), 1);
            assert!(slot.is_in(running[0].poll));
            assert_eq!(running[0].poll.number, 2);
        });
    }

    #[test]
    fn what_was_reported_within_a_poll_is_not_taken_for_that_of_another() {
        loom::model(|| {
            let slot = Arc::new(ThreadSlot::default());
            slot.begin(0, beginning(1));
            slot.add_reported(1, 1, Duration::from_micros(7));
            let polling = Arc::clone(&slot);
            let polls = thread::spawn(move || {
                polling.end(0);
                polling.begin(0, beginning(1));
                polling.add_reported(1, 1, Duration::from_micros(3));
            });
            let mut running = [Running::NONE; LEVELS];
            if slot.read(0, 10, &mut running) > 0 {
                let (number, within) = (running[0].poll.number, running[0].reported_within);
                let expected: &[u64] = if number == 1 { &[7] } else { &[0, 3] };
                let micros = u64::try_from(within.as_micros()).unwrap();
                assert!(expected.contains(&micros), "{number}: {micros}");
            }
            polls.join().unwrap();
        });
    }
}
