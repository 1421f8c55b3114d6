//! One worker that does not return to its scheduler.

mod cause;
mod id;
mod place;
mod thread;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task;

pub use cause::Cause;
pub use id::StallId;
pub use place::Place;
pub use thread::OsThread;

use crate::stack::StackTrace;

/// One worker of a monitored runtime that has not returned to its scheduler for longer than the
/// threshold, from [`Monitor::stalls`](crate::Monitor::stalls).
///
/// A stall is told several times: when the threshold is passed, at growing distances while it goes
/// on, and when it is over. What is told of one stall has the same `worker` and `began_at`.
///
/// `Display` prints one line, made for logs and terminals:
///
/// ```no_run
/// # async fn print(monitor: loopmon::Monitor) {
/// let mut stalls = monitor.stalls();
/// while let Some(stall) = stalls.next().await {
///     // worker 0 is stuck for 0.105 s: blocked in clock_nanosleep, on thread main (4711), since …
///     eprintln!("{stall}");
/// }
/// # }
/// ```
///
/// Your own callbacks and streams of stalls are tested with [`Stall::new`]. With the `serde` feature it
/// can be serialised: durations as serde writes them, a task as a number that is not read back, as
/// only Tokio makes tasks' ids.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stall {
    /// Which stall it is: the same in all reports of one.
    #[cfg_attr(feature = "serde", serde(default = "StallId::next"))]
    pub id: StallId,
    /// Where in its life the stall is.
    pub phase: Phase,
    /// The [name](crate::Builder::name) of the monitor that tells it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub monitor: Option<Arc<str>>,
    /// Where the stall is.
    pub place: Place,
    /// The thread that runs the worker. `None` if it is not [certain](crate::docs::stalls) which one does.
    #[cfg_attr(feature = "serde", serde(default))]
    pub thread: Option<OsThread>,
    /// The task that is being polled. Nothing but the thread itself knows: it is `None` without the
    /// `stack` feature, and where the thread could not be [asked](crate::docs::stacks).
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_deserializing, serialize_with = "task_as_number")
    )]
    pub task: Option<task::Id>,
    /// When it began, by the wall clock: up to a tick of the watchdog (a fifth of the threshold,
    /// 20 ms at most) after it really did.
    pub began_at: DateTime<Utc>,
    /// How long it has lasted so far, or in all once it has ended.
    ///
    /// So far: never more than it really is, and without [pauses](crate::pauses) of the process. In
    /// all: what Tokio itself measured, never less than it really was; what else the worker did since
    /// it last went to its scheduler, up to some 61 polls, is part of it, and so is a pause.
    pub duration: Duration,
    /// Why, as far as the evidence goes. It may be corrected while the stall goes on.
    pub cause: Cause,
    /// The stack of the thread, where it can be taken.
    ///
    /// It takes about a millisecond to find out what is on it, and for the first in a while some
    /// 100 ms or more, as the program's debug information is read. The report waits for that, but
    /// only until there is something new to tell of the same worker, which is when the stall has
    /// lasted twice the threshold; until the monitor stops; and for ten seconds at most. Then it is
    /// told without, and the next report of the stall has the stack.
    #[cfg_attr(feature = "serde", serde(default))]
    pub trace: Option<Arc<StackTrace>>,
    /// Reports this reader lost just before this one, because it was too slow.
    #[cfg_attr(feature = "serde", serde(default))]
    pub missed: u64,
}

/// Where in its life a [`Stall`] is.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Phase {
    /// It has just passed the threshold.
    Started,
    /// It goes on: told when it has lasted twice the threshold, four times, eight times and so on.
    Ongoing,
    /// It is over. A stall that was over before it could be told has only this phase.
    Ended,
}

impl Stall {
    /// A stall with the given fields and nothing in the others: for tests of your own callbacks and
    /// streams.
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::chrono::DateTime;
    /// use loopmon::{Cause, Phase, Place, Stall, Syscall};
    ///
    /// let read = Cause::blocked(Some(Syscall::new(0)));
    /// let lasted = Duration::from_millis(105);
    /// let place = Place::Worker(3);
    /// let mut stall = Stall::new(Phase::Started, place, read, DateTime::UNIX_EPOCH, lasted);
    /// stall.monitor = Some("ingest".into());
    /// assert_eq!(stall.cause.to_string(), format!("blocked in {}", Syscall::new(0)));
    /// assert_eq!(stall.trace, None);
    /// ```
    #[must_use]
    pub fn new(
        phase: Phase,
        place: Place,
        cause: Cause,
        began_at: DateTime<Utc>,
        duration: Duration,
    ) -> Stall {
        Stall {
            id: StallId::next(),
            phase,
            monitor: None,
            place,
            thread: None,
            task: None,
            began_at,
            duration,
            cause,
            trace: None,
            missed: 0,
        }
    }

    /// The index of the stalled worker, as Tokio's metrics count workers.
    #[must_use]
    pub fn worker(&self) -> Option<usize> {
        self.place.worker()
    }

    /// One of which hardly anything is known.
    #[cfg(test)]
    pub(crate) fn of(worker: usize, phase: Phase) -> Stall {
        Stall::new(
            phase,
            Place::Worker(worker),
            Cause::OnCpu,
            DateTime::UNIX_EPOCH,
            Duration::ZERO,
        )
    }
}

#[cfg(feature = "serde")]
fn task_as_number<S: serde::Serializer>(
    task: &Option<task::Id>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    // Tokio shows the number no other way.
    let number = task.and_then(|id| id.to_string().parse::<u64>().ok());
    serde::Serialize::serialize(&number, serializer)
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(monitor) = &self.monitor {
            write!(f, "{monitor}: ")?;
        }
        let stuck = match self.phase {
            Phase::Started | Phase::Ongoing => "is stuck for",
            Phase::Ended => "was stuck for",
        };
        write!(
            f,
            "{} {stuck} {:.3} s: {}",
            self.place,
            self.duration.as_secs_f64(),
            self.cause,
        )?;
        if self.cause == Cause::OnCpu && self.task.is_none() {
            // Up to an `event_interval` of polls looks like one.
            f.write_str(", in one long poll or up to 61 shorter ones")?;
        }
        if let Some(thread) = &self.thread {
            write!(f, ", on thread {thread}")?;
        }
        if let Some(task) = self.task {
            write!(f, ", in task {task}")?;
        }
        write!(f, ", since {}", self.began_at.format("%H:%M:%S%.3f"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::Syscall;

    #[test]
    fn prints_one_readable_line() {
        let mut stall = Stall {
            began_at: DateTime::from_timestamp_millis(1_645_630_780_766).unwrap(),
            duration: Duration::from_millis(105),
            ..Stall::of(3, Phase::Started)
        };
        assert_eq!(
            stall.to_string(),
            "worker 3 is stuck for 0.105 s: running on the CPU, in one long poll or up to 61 shorter \
             ones, since 15:39:40.766"
        );
        stall.phase = Phase::Ended;
        stall.monitor = Some("ingest".into());
        stall.thread = Some(OsThread::new(Some(17), Some("tokio-rt-worker".into())));
        stall.cause = Cause::Blocked {
            syscall: Some(Syscall::new(9_999)),
        };
        assert_eq!(
            stall.to_string(),
            "ingest: worker 3 was stuck for 0.105 s: blocked in system call 9999, \
             on thread tokio-rt-worker (17), since 15:39:40.766"
        );
    }
}
