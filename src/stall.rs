//! A stall as users see it: where, since when, why. Detecting it is the watchdog's concern.

mod cause;
mod id;
mod measured;
mod place;
mod thread;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task;

pub use cause::Cause;
pub use id::StallId;
pub(crate) use measured::{Measured, Share};
pub use place::Place;
pub use thread::OsThread;

use crate::stack::StackTrace;

/// A report of one worker of a monitored runtime that has not returned to its scheduler for longer than the
/// threshold, or of a [root](Place::RootFuture) or [instrumented](Place::Future) future that has not returned
/// from a poll. From [`Monitor::stalls`](crate::Monitor::stalls).
///
/// A stall is reported when it crosses the threshold, at doubling durations, and when it ends. All
/// reports of one stall have the same `id`, `place` and `began_at`.
///
/// `Display` prints one line for logs and terminals. It ends with the
/// [culprit](StackTrace::culprit), once that is known:
///
/// ```no_run
/// # async fn print(monitor: loopmon::Monitor) {
/// let mut stalls = monitor.stalls();
/// while let Some(stall) = stalls.next().await {
///     // worker 0 is stuck for 0.105 s: blocked in clock_nanosleep, on thread main (4711),
///     // since 15:39:40.766, in shop::orders::save at src/orders.rs:41
///     eprintln!("{stall}");
/// }
/// # }
/// ```
///
/// [`Stall::new`] builds one for tests of your own callbacks and streams. The `serde` feature
/// serialises it: durations in serde's own format, the task as a number. The number is ignored when
/// it is read back, as only Tokio can make a task's id.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stall {
    /// Identifies the stall: all its reports have the same id.
    #[cfg_attr(feature = "serde", serde(default = "StallId::next"))]
    pub id: StallId,
    /// Whether the stall has started, is ongoing or has ended.
    pub phase: Phase,
    /// The [name](crate::Builder::name) of the monitor that reports the stall.
    #[cfg_attr(feature = "serde", serde(default))]
    pub monitor: Option<Arc<str>>,
    /// Where the stall is.
    pub place: Place,
    /// The thread that runs the worker, or polls the future. `None` if it is not [certain](crate::docs::stalls) which
    /// thread does.
    #[cfg_attr(feature = "serde", serde(default))]
    pub thread: Option<OsThread>,
    /// The task that is being polled, which only the thread itself knows. `None` without the `stack`
    /// feature, or if the thread could not be [asked](crate::docs::stacks).
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_deserializing, serialize_with = "task_as_number")
    )]
    pub task: Option<task::Id>,
    /// When the stall began, by the wall clock. It may have begun earlier by up to one tick of the
    /// watchdog: a fifth of the threshold, at most 20 ms. It is [longer](crate::Builder::stall_threshold) while the
    /// runtime is idle.
    pub began_at: DateTime<Utc>,
    /// How long the stall has lasted: so far, or in all once it has ended.
    ///
    /// While the stall lasts, this is a lower bound that excludes [pauses](crate::pauses) of the
    /// process. At the end of a worker's stall, it is an upper bound measured by Tokio: it includes pauses, and
    /// whatever else the worker polled since it last published its counters, in up to 61 turns by default. At
    /// the end of an instrumented future's stall, it is the length of the poll, without the stalls of
    /// instrumented futures within. That of a root future is measured by loopmon.
    pub duration: Duration,
    /// Why, as far as the evidence shows. Later reports may correct it.
    pub cause: Cause,
    /// The stack of the thread, where it can be captured.
    ///
    /// Resolving a stack takes about a millisecond. The first one in a while takes 100 ms or more, to
    /// read the program's debug information. The report waits for the stack until the same worker
    /// has something new to report (at twice the threshold), until the monitor stops, or for ten
    /// seconds, whichever comes first. It is then published without the stack, and the next report of
    /// the stall has it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub trace: Option<Arc<StackTrace>>,
    /// How many reports this reader lost just before this one, because it was too slow.
    #[cfg_attr(feature = "serde", serde(default))]
    pub missed: u64,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) measured: Measured,
}

/// The phase of a [`Stall`] at one of its reports.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Phase {
    /// The stall has just crossed the threshold.
    Started,
    /// The stall lasts: reported at twice the threshold, at four times, at eight times and so on.
    Ongoing,
    /// The stall has ended. A stall that ends before it can be reported has only this phase.
    Ended,
}

impl Stall {
    /// Creates a stall with the given fields and a new id, for tests of your own callbacks and
    /// streams. The other fields are empty.
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
            measured: Measured::default(),
        }
    }

    /// The index of the stalled worker, as Tokio's metrics count workers. `None` for a root future.
    #[must_use]
    pub fn worker(&self) -> Option<usize> {
        self.place.worker()
    }

    /// Creates a stall of which little is known.
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
            f.write_str(match self.place {
                // Up to `event_interval` polls look like one.
                Place::Worker(_) => ", in one long poll or up to 61 shorter ones",
                Place::RootFuture => ", in one long poll or many shorter ones",
                Place::Future(_) => "",
            })?;
        }
        if let Some(thread) = &self.thread {
            write!(f, ", on thread {thread}")?;
        }
        if let Some(task) = self.task {
            write!(f, ", in task {task}")?;
        }
        write!(f, ", since {}", self.began_at.format("%H:%M:%S%.3f"))?;
        match self.trace.as_deref().and_then(StackTrace::culprit) {
            Some(culprit) => write!(f, ", in {}", culprit.brief()),
            None => Ok(()),
        }
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
        stall.place = Place::RootFuture;
        assert_eq!(
            stall.to_string(),
            "the root future is stuck for 0.105 s: running on the CPU, in one long poll or many shorter \
             ones, since 15:39:40.766"
        );
        stall.place = Place::Worker(3);
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
        let calls = [
            ("read", None),
            ("app::orders::save::{{closure}}", Some("/src/orders.rs")),
        ];
        stall.trace = Some(Arc::new(StackTrace::of(&calls, Some(1))));
        assert_eq!(
            stall.to_string(),
            "ingest: worker 3 was stuck for 0.105 s: blocked in system call 9999, on thread \
             tokio-rt-worker (17), since 15:39:40.766, in app::orders::save at /src/orders.rs:1"
        );
        stall.trace = Some(Arc::new(StackTrace::of(&calls, None)));
        assert!(stall.to_string().ends_with("since 15:39:40.766"), "{stall}");
    }
}
