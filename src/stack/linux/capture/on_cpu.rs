//! Whether a thread that seems to run is busy with the program's own code, so that a signal interrupts no
//! call of it.
//!
//! Linux reports `running` for every thread that is on a CPU or waits for one. One of those may have a
//! `poll` that has just timed out: until it gets a CPU, which may take milliseconds, it is still inside the
//! call, and a signal makes the call end with `EINTR`. The same holds for every call with a timeout.
//!
//! So two observations are compared. If the thread has not slept between them, by the kernel's count, and
//! has been on a CPU for a while, it has left whatever call it was in at the first one: leaving a call
//! takes some microseconds. And a call that it has begun since has not slept, so no timeout of it can have
//! expired.
//!
//! One case remains: a thread that goes to sleep between the last observation and the signal. The two are
//! next to each other in the code, some 20 us apart, most of which it takes to read the count and to
//! interrupt another CPU. The thread must have computed for a while before, so this can happen once per
//! stretch of computing, whereas a timeout would expire with every call.

use std::fs;
use std::time::Duration;

use crate::procfs::Thread;
use crate::stack::sys::LeftQuestion;
use crate::stack::trace::{NoStack, ThreadState};

/// Exceeds what it takes to leave a call that has timed out. The kernel updates the time on a CPU every 1
/// to 10 ms.
const TIME_TO_LEAVE_A_CALL: Duration = Duration::from_millis(1);

/// Follows one thread, to know whether it runs the program's own code, and what it has been asked.
#[derive(Debug, Default)]
pub(crate) struct OnCpuTracker {
    /// Holds the first observation since the thread last slept.
    baseline: Option<Baseline>,
    /// The last question for a stack, if the thread has not answered it in time.
    pub(super) asked: Option<LateStack>,
    /// One that the thread was asked during the stall, for certain.
    pub(super) left: Option<LateStack>,
}

/// A stack for which the thread was asked and has not answered yet.
#[derive(Debug)]
pub(super) struct LateStack {
    pub(super) question: LeftQuestion,
    /// What the system reported when it was asked.
    pub(super) thread_state: ThreadState,
    pub(super) capture_time: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Baseline {
    sleeps: u64,
    on_cpu: Duration,
}

/// What `/proc/…/status` reports of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stack::linux) struct Status {
    /// Counts how often the thread has gone to sleep in its life.
    sleeps: u64,
    /// Counts how often the thread was taken off a CPU while it could run.
    preemptions: u64,
    /// Has a bit for each signal that the thread blocks.
    masked: u64,
    /// Has a bit for each signal that was sent to the thread and not delivered yet.
    pending: u64,
}

impl Status {
    /// Returns `None` where the kernel does not report all of it.
    pub(in crate::stack::linux) fn of(thread: Thread) -> Option<Status> {
        let status = fs::read_to_string(format!("/proc/self/task/{}/status", thread.0));
        Status::parse(&status.ok()?)
    }

    pub(in crate::stack::linux) fn parse(text: &str) -> Option<Status> {
        let [mut sleeps, mut preemptions, mut masked, mut pending] = [None; 4];
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let signals = || u64::from_str_radix(value.trim(), 16).ok();
            let count = || value.trim().parse().ok();
            match name {
                "SigPnd" => pending = signals(),
                "SigBlk" => masked = signals(),
                "voluntary_ctxt_switches" => sleeps = count(),
                "nonvoluntary_ctxt_switches" => preemptions = count(),
                _ => {}
            }
        }
        Some(Status {
            sleeps: sleeps?,
            preemptions: preemptions?,
            masked: masked?,
            pending: pending?,
        })
    }

    pub(super) fn sleeps(self) -> u64 {
        self.sleeps
    }

    pub(super) fn context_switches(self) -> u64 {
        self.sleeps.wrapping_add(self.preemptions)
    }

    /// Checks that a signal would be delivered. One that is not stays pending; real-time signals pile up, to
    /// the user's limit.
    pub(in crate::stack::linux) fn check_delivery(self, signal: i32) -> Result<(), NoStack> {
        let bit =
            u32::try_from(signal - 1).map_or(0, |shift| 1_u64.checked_shl(shift).unwrap_or(0));
        if self.masked & bit != 0 {
            return Err(NoStack::SignalMasked);
        }
        if self.pending & bit != 0 {
            return Err(NoStack::NoAnswer);
        }
        Ok(())
    }
}

impl OnCpuTracker {
    /// Ends an attempt to take a stack. If the stall goes on, an answer may come late.
    pub(crate) fn conclude(&mut self, goes_on: bool) {
        if let Some(asked) = self.asked.take().filter(|_| goes_on) {
            self.left = Some(asked);
        }
    }

    /// Observes the thread. Returns its status if it has run for a while since it last slept.
    pub(super) fn observe(&mut self, thread: Thread) -> Option<Status> {
        self.update(|| on_cpu(thread), || Status::of(thread))
    }

    fn update(
        &mut self,
        on_cpu: impl Fn() -> Option<Duration>,
        status: impl Fn() -> Option<Status>,
    ) -> Option<Status> {
        let on_cpu_so_far = on_cpu()?;
        // Comes last, to leave as little time as possible before the signal.
        let now = status()?;
        match self.baseline {
            Some(baseline) if baseline.sleeps == now.sleeps => {
                let ran = on_cpu_so_far.saturating_sub(baseline.on_cpu);
                (ran >= TIME_TO_LEAVE_A_CALL).then_some(now)
            }
            _ => {
                // Read again: the thread may have run, and slept, since the first reading.
                let on_cpu = on_cpu()?;
                self.baseline = Some(Baseline {
                    sleeps: now.sleeps,
                    on_cpu,
                });
                None
            }
        }
    }
}

fn on_cpu(thread: Thread) -> Option<Duration> {
    thread.times().map(|times| times.on_cpu)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const STATUS: Status = Status {
        sleeps: 7,
        preemptions: 0,
        masked: 0,
        pending: 0,
    };

    fn runs(tracker: &mut OnCpuTracker, sleeps: u64, on_cpu: u64) -> bool {
        let status = Status { sleeps, ..STATUS };
        let seen = tracker.update(|| Some(Duration::from_micros(on_cpu)), || Some(status));
        seen.inspect(|seen| assert_eq!(*seen, status)).is_some()
    }

    #[test]
    fn a_thread_runs_if_it_has_used_the_cpu_and_has_not_slept() {
        let mut tracker = OnCpuTracker::default();
        for (sleeps, on_cpu, expected) in [
            (7, 100, false),
            (7, 100, false),
            // On its way out of a call.
            (7, 1_099, false),
            (7, 1_100, true),
            // However long it has run: it has slept.
            (8, 9_000, false),
            (8, 9_999, false),
            (8, 10_000, true),
        ] {
            assert_eq!(
                runs(&mut tracker, sleeps, on_cpu),
                expected,
                "{sleeps} {on_cpu}"
            );
        }
    }

    #[test]
    fn what_it_ran_before_it_slept_does_not_count() {
        let mut tracker = OnCpuTracker::default();
        runs(&mut tracker, 7, 0);
        // The thread goes to sleep between the two readings.
        let on_cpu = Cell::new(5_000);
        let read = || Some(Duration::from_micros(on_cpu.get()));
        let slept = || {
            on_cpu.set(8_000);
            Some(Status {
                sleeps: 8,
                ..STATUS
            })
        };
        assert_eq!(tracker.update(read, slept), None);
        assert!(!runs(&mut tracker, 8, 8_000));
    }

    #[test]
    fn what_is_not_counted_proves_nothing() {
        let mut tracker = OnCpuTracker::default();
        assert_eq!(tracker.update(|| None, || Some(STATUS)), None);
        assert_eq!(tracker.update(|| Some(Duration::MAX), || None), None);
        assert_eq!(Status::parse("Name:\tx\n"), None);
    }

    #[test]
    fn reads_signals_and_context_switches() {
        let text = "Name:\tSigBlk\nSigPnd:\t0000000000400000\nShdPnd:\t0000000000000200\n\
                    SigBlk:\t8000000000000000\nvoluntary_ctxt_switches:\t3\n\
                    nonvoluntary_ctxt_switches:\t4\n";
        let status = Status::parse(text).unwrap();
        assert_eq!(status.context_switches(), 7);
        assert_eq!(status.check_delivery(64), Err(NoStack::SignalMasked));
        assert_eq!(status.check_delivery(23), Err(NoStack::NoAnswer));
        for signal in [1, 10, 22, 24, 63] {
            assert_eq!(status.check_delivery(signal), Ok(()));
        }
    }
}
