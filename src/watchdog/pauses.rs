//! When the whole process did not run.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock;

static PAUSES: Mutex<Pauses> = Mutex::new(Pauses {
    count: 0,
    total: Duration::ZERO,
    last: None,
});

/// How often and how long the whole process did not run, from [`pauses`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pauses {
    /// How many there have been.
    pub count: u64,
    /// How long they were together.
    pub total: Duration,
    /// The latest.
    pub last: Option<Pause>,
}

/// A time in which the whole process did not run.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pause {
    /// How long it was.
    pub duration: Duration,
    /// When it was noticed, by the wall clock: right after its end.
    pub ended_at: DateTime<Utc>,
}

/// How often and how long the whole process did not run, since stalls were first looked for.
///
/// A process that is stopped (`SIGSTOP`, Ctrl-Z), held by a debugger, frozen with its container,
/// throttled by a CPU quota, or that gets no CPU from a crowded host, has no stall: none of its code
/// is to blame. loopmon knows such a time by its watchdog, which oversleeps. It counts it here, and
/// tells no stall for it.
///
/// Noticed is what lasted more than 20 ms and more than four ticks of the watchdog (a tick is a fifth
/// of the smallest threshold watched, 1 to 20 ms), while stalls were looked for. A suspended machine
/// is noticed where the monotonic clock goes on meanwhile; on Linux it stands still, so there it is
/// neither a pause nor a stall.
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
    *lock()
}

pub(super) fn add(duration: Duration) {
    let mut pauses = lock();
    pauses.count += 1;
    pauses.total = pauses.total.saturating_add(duration);
    pauses.last = Some(Pause {
        duration,
        ended_at: clock::utc_now(),
    });
}

fn lock() -> MutexGuard<'static, Pauses> {
    PAUSES.lock().unwrap_or_else(PoisonError::into_inner)
}
