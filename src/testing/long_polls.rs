//! The long polls of a watched future, as the thread that polls it measures them: the watchdog sees nothing of a
//! poll of a millisecond, and not how long exactly a longer one waited for a CPU.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::bursts::{Burst, Bursts};
use crate::clock;
use crate::instrument::Instrumented;
use crate::procfs::{Pressure, Schedule, Sleeps, Times};
use crate::stack;
use crate::stall::{Cause, OsThread};
use crate::sync::Lock;

/// How many long polls are kept.
const MOST: usize = 1_024;

/// What the thread has waited before a poll is read again after this part of the threshold. What it has waited
/// since then counts for the poll.
const READ_AGAIN_AFTER: u32 = 8;

thread_local! {
    static FILES: (Schedule, Pressure, Sleeps) = (Schedule::own(), Pressure::open(), Sleeps::own());
    static LAST_READ: Cell<Option<(Instant, Reading)>> = const { Cell::new(None) };
}

/// With a lower threshold, how often the thread sleeps is not counted, as that takes long to read.
const SLEEPS_ARE_COUNTED_FROM: Duration = Duration::from_millis(10);

/// A poll that has lasted for the threshold.
#[derive(Debug, Clone)]
pub(super) struct LongPoll {
    /// The name of the future.
    pub(super) name: Arc<str>,
    /// The number of the thread.
    pub(super) thread: u32,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) did: Did,
}

/// What a thread did in a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Did {
    /// How long it waited for a CPU, at the most.
    pub(super) waited: Duration,
    /// What it did for most of the rest.
    pub(super) cause: Cause,
    /// How long it slept.
    pub(super) slept: Duration,
    /// One of its sleeps was at least that long.
    pub(super) sleep: Duration,
    /// For how long it may have slept because another thread waited for a CPU.
    pub(super) crowded: Duration,
}

/// What the system says of the calling thread, and of the machine.
#[derive(Debug, Clone, Copy)]
struct Reading {
    times: Times,
    /// For how long a thread of the machine has waited for a CPU.
    pressure: Option<Duration>,
    /// How often the thread has gone to sleep.
    sleeps: Option<u64>,
}

/// The long polls of one future, and its bursts.
#[derive(Debug)]
pub(super) struct LongPolls {
    threshold: Duration,
    polls: Lock<Vec<LongPoll>>,
    pub(super) bursts: Bursts,
}

pin_project! {
    /// A future whose long polls are kept.
    pub(super) struct Watched<F> {
        #[pin]
        future: Instrumented<F>,
        name: Arc<str>,
        polls: Arc<LongPolls>,
    }
}

impl<F> Watched<F> {
    pub(super) fn new(
        future: Instrumented<F>,
        name: Arc<str>,
        polls: Arc<LongPolls>,
    ) -> Watched<F> {
        Watched {
            future,
            name,
            polls,
        }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _timer = Timer::begin(this.name, this.polls);
        this.future.poll(cx)
    }
}

impl LongPolls {
    pub(super) fn new(threshold: Duration) -> Arc<LongPolls> {
        Arc::new(LongPolls {
            threshold,
            polls: Lock::default(),
            bursts: Bursts::new(threshold),
        })
    }

    pub(super) fn take(&self) -> Vec<LongPoll> {
        self.polls.with(std::mem::take)
    }
}

/// Measures a poll until it is dropped, also by a panic.
struct Timer<'a> {
    name: &'a Arc<str>,
    polls: &'a LongPolls,
    began: Instant,
    before: Option<Reading>,
}

impl Timer<'_> {
    fn begin<'a>(name: &'a Arc<str>, polls: &'a LongPolls) -> Timer<'a> {
        let began = clock::now();
        let is_recent = |(at, _): &(Instant, Reading)| {
            began.saturating_duration_since(*at) < polls.threshold / READ_AGAIN_AFTER
        };
        let recent = LAST_READ.get().filter(is_recent);
        let recent = recent.map(|(_, reading)| reading);
        let before = recent.or_else(|| Reading::now(polls.threshold));
        if recent.is_none() {
            LAST_READ.set(before.map(|reading| (began, reading)));
        }
        Timer {
            name,
            polls,
            began,
            before,
        }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let poll = Burst {
            thread: OsThread::current().number(),
            began: self.began,
            ended: clock::now(),
        };
        self.polls.bursts.add(poll);
        let lasted = poll.lasted();
        if lasted < self.polls.threshold {
            return;
        }
        let did = match (self.before, Reading::now(self.polls.threshold)) {
            (Some(before), Some(after)) => what_it_did(lasted, before, after),
            _ => Did::NOTHING_KNOWN,
        };
        let poll = LongPoll {
            name: Arc::clone(self.name),
            thread: poll.thread,
            began: poll.began,
            ended: poll.ended,
            did,
        };
        self.polls.polls.with(|polls| {
            if polls.len() < MOST {
                polls.push(poll);
            }
        });
    }
}

/// Whether the system reports what threads do.
pub(super) fn are_measured() -> bool {
    Reading::now(Duration::ZERO).is_some()
}

impl Reading {
    /// `None` where the system does not report it, and while the thread ends.
    fn now(threshold: Duration) -> Option<Reading> {
        let are_counted = threshold >= SLEEPS_ARE_COUNTED_FROM;
        let read = |(schedule, pressure, sleeps): &(Schedule, Pressure, Sleeps)| {
            let times = schedule.times()?;
            Some(Reading {
                times,
                pressure: pressure.total(),
                sleeps: are_counted.then(|| own_sleeps(sleeps)).flatten(),
            })
        };
        FILES.try_with(read).ok().flatten()
    }
}

impl Did {
    const NOTHING_KNOWN: Did = Did {
        waited: Duration::ZERO,
        cause: Cause::Unknown,
        slept: Duration::ZERO,
        sleep: Duration::ZERO,
        crowded: Duration::ZERO,
    };
}

/// How often the calling thread has gone to sleep by itself, from any number on: a question of loopmon's ends a sleep
/// as well.
fn own_sleeps(sleeps: &Sleeps) -> Option<u64> {
    let interrupted = stack::own_id().map_or(0, stack::interruptions);
    Some(sleeps.count()?.wrapping_sub(interrupted as u64))
}

/// What a thread did that runs now.
fn what_it_did(lasted: Duration, before: Reading, after: Reading) -> Did {
    let waited = after.times.waited.saturating_sub(before.times.waited);
    let own = lasted.saturating_sub(waited);
    let on_cpu = after.times.on_cpu.saturating_sub(before.times.on_cpu);
    // A thread that sleeps has to be put on a CPU again. Then the time on a CPU has been counted.
    let turns = after.times.turns.saturating_sub(before.times.turns);
    let slept = match turns {
        0 => Duration::ZERO,
        _ => own.saturating_sub(on_cpu),
    };
    let pressure = after.pressure.zip(before.pressure);
    // A thread that is put off its CPU gets another turn without having slept.
    let counted = after.sleeps.zip(before.sleeps);
    let sleeps = counted.map_or(turns, |(after, before)| {
        after.wrapping_sub(before).min(turns)
    });
    Did {
        waited,
        cause: if slept > own / 2 {
            Cause::Blocked { syscall: None }
        } else {
            Cause::OnCpu
        },
        slept,
        sleep: slept / u32::try_from(sleeps).unwrap_or(u32::MAX).max(1),
        crowded: pressure.map_or(slept, |(after, before)| {
            after.saturating_sub(before).min(slept)
        }),
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_did_besides_waiting_for_a_cpu() {
        let ms = Duration::from_millis;
        let reading = |on_cpu, waited, turns, pressure| Reading {
            times: Times {
                on_cpu: ms(on_cpu),
                waited: ms(waited),
                turns,
            },
            pressure: Some(ms(pressure)),
            sleeps: None,
        };
        let before = reading(5, 1, 9, 3);
        let blocked = Cause::Blocked { syscall: None };
        for (lasted, after, cause, [waited, slept, sleep, crowded]) in [
            (100, reading(105, 1, 9, 3), Cause::OnCpu, [0, 0, 0, 0]),
            // The kernel has not counted it yet.
            (3, reading(5, 1, 9, 3), Cause::OnCpu, [0, 0, 0, 0]),
            (100, reading(25, 81, 30, 90), Cause::OnCpu, [80, 0, 0, 0]),
            (100, reading(5, 1, 10, 3), blocked, [0, 100, 100, 0]),
            (100, reading(5, 71, 12, 8), blocked, [70, 30, 10, 5]),
            (100, reading(25, 1, 14, 99), blocked, [0, 80, 16, 80]),
        ] {
            let did = what_it_did(ms(lasted), before, after);
            let [waited, slept, sleep, crowded] = [waited, slept, sleep, crowded].map(ms);
            let expected = Did {
                waited,
                cause,
                slept,
                sleep,
                crowded,
            };
            assert_eq!(did, expected, "{lasted} {after:?}");
        }
        // Of ten turns, two came after a sleep.
        let counted = |reading, sleeps| Reading {
            sleeps: Some(sleeps),
            ..reading
        };
        let (before, after) = (counted(before, 7), counted(reading(25, 1, 19, 99), 9));
        assert_eq!(what_it_did(ms(100), before, after).sleep, ms(40));
        let unknown = Reading {
            pressure: None,
            ..reading(5, 1, 14, 0)
        };
        assert_eq!(what_it_did(ms(100), before, unknown).crowded, ms(100));
    }

    #[test]
    fn only_long_polls_are_kept_and_a_panic_ends_one() {
        let (name, polls) = ("f".into(), LongPolls::new(Duration::from_millis(2)));
        drop(Timer::begin(&name, &polls));
        let panics = std::panic::catch_unwind(|| {
            let _timer = Timer::begin(&name, &polls);
            std::thread::park_timeout(Duration::from_millis(3));
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panics.is_err());
        let kept = polls.take();
        let long = kept.iter().filter(|poll| {
            poll.thread == OsThread::current().number()
                && poll.ended - poll.began >= Duration::from_millis(2)
        });
        assert!(long.count() >= 1, "{kept:?}");
        assert!(kept.len() <= 2, "{kept:?}");
    }
}
