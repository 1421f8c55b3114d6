//! The long polls of a watched future, as the thread that polls it measures them: the watchdog sees nothing of a
//! poll of a millisecond, and not how long exactly a longer one waited for a CPU.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::clock;
use crate::instrument::Instrumented;
use crate::procfs::{Schedule, Times};
use crate::stall::{Cause, OsThread};
use crate::sync::Lock;

/// How many long polls are kept.
const MOST: usize = 1_024;

/// What the thread has waited before a poll is read again after this part of the threshold. What it has waited
/// since then counts for the poll.
const READ_AGAIN_AFTER: u32 = 8;

thread_local! {
    static SCHEDULE: Schedule = Schedule::own();
    static LAST_READ: Cell<Option<(Instant, Times)>> = const { Cell::new(None) };
}

/// A poll that has lasted for the threshold.
#[derive(Debug, Clone)]
pub(super) struct LongPoll {
    /// The name of the future.
    pub(super) name: Arc<str>,
    /// The number of the thread.
    pub(super) thread: u32,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// How long the thread waited for a CPU in it, at the most.
    pub(super) waited: Duration,
    /// What the thread did for most of the rest.
    pub(super) cause: Cause,
}

/// The long polls of one future.
#[derive(Debug)]
pub(super) struct LongPolls {
    threshold: Duration,
    polls: Lock<Vec<LongPoll>>,
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
    times: Option<Times>,
}

impl Timer<'_> {
    fn begin<'a>(name: &'a Arc<str>, polls: &'a LongPolls) -> Timer<'a> {
        let began = clock::now();
        let is_recent = |(at, _): &(Instant, Times)| {
            began.saturating_duration_since(*at) < polls.threshold / READ_AGAIN_AFTER
        };
        let recent = LAST_READ.get().filter(is_recent);
        let times = recent.map(|(_, times)| times).or_else(own_times);
        if recent.is_none() {
            LAST_READ.set(times.map(|times| (began, times)));
        }
        Timer {
            name,
            polls,
            began,
            times,
        }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let ended = clock::now();
        let lasted = ended.saturating_duration_since(self.began);
        if lasted < self.polls.threshold {
            return;
        }
        let (waited, cause) = match (self.times, own_times()) {
            (Some(before), Some(after)) => what_it_did(lasted, before, after),
            _ => (Duration::ZERO, Cause::Unknown),
        };
        let poll = LongPoll {
            name: Arc::clone(self.name),
            thread: OsThread::current().number(),
            began: self.began,
            ended,
            waited,
            cause,
        };
        self.polls.polls.with(|polls| {
            if polls.len() < MOST {
                polls.push(poll);
            }
        });
    }
}

/// The times of the calling thread. `None` where the system does not report them, and while the thread ends.
pub(super) fn own_times() -> Option<Times> {
    SCHEDULE.try_with(Schedule::times).ok().flatten()
}

/// How long a thread waited for a CPU that runs now, and what it did for most of the rest.
fn what_it_did(lasted: Duration, before: Times, after: Times) -> (Duration, Cause) {
    let waited = after.waited.saturating_sub(before.waited);
    let own = lasted.saturating_sub(waited);
    let on_cpu = after.on_cpu.saturating_sub(before.on_cpu);
    // A thread that is put to sleep has to be put on a CPU again. Then the time on a CPU has been counted.
    let has_slept = after.turns > before.turns && on_cpu < own / 2;
    let cause = if has_slept {
        Cause::Blocked { syscall: None }
    } else {
        Cause::OnCpu
    };
    (waited, cause)
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_cpu_is_not_what_a_poll_did() {
        let ms = Duration::from_millis;
        let times = |on_cpu, waited, turns| Times {
            on_cpu: ms(on_cpu),
            waited: ms(waited),
            turns,
        };
        let blocked = Cause::Blocked { syscall: None };
        for (lasted, before, after, expected) in [
            (100, times(5, 1, 9), times(105, 1, 9), (0, Cause::OnCpu)),
            // The kernel has not counted it yet.
            (3, times(5, 1, 9), times(5, 1, 9), (0, Cause::OnCpu)),
            (100, times(5, 1, 9), times(25, 81, 30), (80, Cause::OnCpu)),
            (100, times(5, 1, 9), times(6, 1, 10), (0, blocked)),
            (100, times(5, 1, 9), times(6, 71, 10), (70, blocked)),
        ] {
            let (waited, cause) = expected;
            let did = what_it_did(ms(lasted), before, after);
            assert_eq!(did, (ms(waited), cause), "{lasted} {before:?} {after:?}");
        }
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
