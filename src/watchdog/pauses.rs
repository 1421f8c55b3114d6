//! Counts the times in which the whole process did not run. How they are found: `gap.rs`, `throttle.rs`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
#[cfg(feature = "testing")]
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::lost_time::LostTime;
use crate::clock;
use crate::per_process::PerProcess;

static PAUSES: PerProcess<Mutex<State>> = PerProcess::new(|| {
    Mutex::new(State {
        pauses: Pauses {
            count: 0,
            total: Duration::ZERO,
            throttled: 0,
            last: None,
        },
        latest: LostTime::new(),
    })
});

#[derive(Debug)]
struct State {
    pauses: Pauses,
    /// The latest pauses, and what may have been pauses. Without those of a quota: for a thread, these are a wait
    /// for a CPU.
    latest: LostTime,
}

/// How often and how long the whole process did not run, from [`pauses`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pauses {
    /// Counts the pauses.
    pub count: u64,
    /// The duration of all pauses together.
    pub total: Duration,
    /// Counts those pauses that were periods in which a CPU quota throttled the process.
    pub throttled: u64,
    /// The latest pause.
    pub last: Option<Pause>,
}

/// A time in which the whole process did not run.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pause {
    /// How long the pause was.
    pub duration: Duration,
    /// When the pause was noticed, by the wall clock: right after its end.
    pub ended_at: DateTime<Utc>,
}

/// Returns how often and how long the whole process did not run, since stall detection first began.
///
/// A process that is stopped (`SIGSTOP`, Ctrl-Z), held by a debugger, frozen with its container, or
/// throttled by a CPU quota, has no stall: none of its code is to blame. loopmon counts such a time here,
/// by evidence, and reports no stall for it:
///
/// * The watchdog overslept, and by the system's own count it neither ran nor waited for a CPU or a page of
///   memory meanwhile. It needs nothing else that the program can hold, so the whole process did not run. A pause is
///   noticed if it lasts more than 20 ms and more than four ticks of the watchdog (a tick is a fifth of the
///   threshold, 1 to 20 ms). Up to one tick of it is not counted: up to 100 ms while all runtimes are
///   [idle](crate::Builder::stall_threshold). A watchdog that waited for a CPU is no evidence of a pause: the
///   other threads may have run.
/// * The control group of the process counts periods in which a quota throttled it. loopmon reads them
///   once a second. [`total`](Pauses::total) has their time as the group counts it, which may be that of
///   several CPUs, but not more than has passed.
///
/// Pauses are counted only while stalls are detected. A suspended machine is noticed where the monotonic
/// clock goes on meanwhile. On Linux that clock stops, so there it is neither a pause nor a stall.
///
/// ```
/// let pauses = loopmon::pauses();
/// if let Some(last) = pauses.last {
///     println!("{} pauses, the last of {:?} until {}", pauses.count, last.duration, last.ended_at);
/// }
/// assert_eq!(pauses.count == 0, pauses.total.is_zero());
/// ```
#[must_use]
pub fn pauses() -> Pauses {
    lock().pauses
}

/// For how long the process was paused between two times, or may have been.
#[cfg(feature = "testing")]
pub(crate) fn paused_between(from: Instant, to: Instant) -> Duration {
    lock().latest.between(from, to)
}

/// Counts a pause.
pub(super) fn add(duration: Duration) {
    count(1, duration).latest.add(clock::now(), duration);
}

/// Remembers a time of which it is not known whether it was a pause.
pub(super) fn add_unexplained(duration: Duration) {
    lock().latest.add(clock::now(), duration);
}

/// Counts periods in which a quota throttled the process.
pub(super) fn add_throttled(periods: u64, duration: Duration) {
    count(periods, duration).pauses.throttled += periods;
}

fn count(more: u64, duration: Duration) -> MutexGuard<'static, State> {
    let mut state = lock();
    state.pauses.count += more;
    state.pauses.total = state.pauses.total.saturating_add(duration);
    state.pauses.last = Some(Pause {
        duration,
        ended_at: clock::utc_now(),
    });
    state
}

fn lock() -> MutexGuard<'static, State> {
    PAUSES.get().lock().unwrap_or_else(PoisonError::into_inner)
}
