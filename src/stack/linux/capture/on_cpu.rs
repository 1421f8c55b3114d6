//! Whether a thread that seems to run is busy with the program's own code, so that a signal breaks no
//! call of it.
//!
//! Linux says `running` of every thread that is on a CPU or waits for one. Among those is one whose
//! `poll` has just timed out: until it gets a CPU, which may take milliseconds, it is inside of the
//! call, and a signal makes the call end with `EINTR`. So it is with every call that has a timeout.
//!
//! So two looks are compared. If the thread has not gone to sleep between them, by the kernel's count,
//! and has been on a CPU for a while, then it has left whatever call it was in at the first look: the
//! way out of one takes some microseconds. And a call that it has begun since has not slept, so no
//! timeout of it can have expired.
//!
//! What is left is a thread that goes to sleep just between the last look and the signal. They are next
//! to each other in the watchdog's code, and some 20 us apart, most of which it takes to read the count
//! and to interrupt another CPU. It has to have computed for a while before, so this can happen once in
//! a stretch of computing, where a timeout came with every call.

use std::time::Duration;

use crate::procfs::Thread;
use crate::stack::trace::NoStack;

/// More than it takes to leave a call whose time is over. The kernel brings the time on a CPU up to
/// date every 1 to 10 ms.
const LEAVES_ANY_CALL: Duration = Duration::from_millis(1);

/// What a thread has been seen to do.
#[derive(Debug, Default)]
pub(crate) struct OnCpuTracker {
    /// The first look since it was last known to sleep.
    since: Option<Look>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// How often it has gone to sleep in its life.
    sleeps: u64,
    on_cpu: Duration,
}

/// What `status` says of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stack::linux) struct Status {
    /// How often it has gone to sleep in its life, and how often it was taken off a CPU.
    sleeps: u64,
    preemptions: u64,
    /// The signals that it does not take, and those that it has been sent and not taken yet: a bit each.
    masked: u64,
    pending: u64,
}

impl Status {
    /// `None` where the kernel does not tell all of it.
    pub(in crate::stack::linux) fn of(thread: Thread) -> Option<Status> {
        Status::parse(&thread.read("status").ok()?)
    }

    fn parse(text: &str) -> Option<Status> {
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

    /// How often the thread has come to and from a CPU.
    pub(super) fn turns(self) -> u64 {
        self.sleeps.wrapping_add(self.preemptions)
    }

    /// Whether a signal would come through. One that does not stays with the thread; real-time ones pile
    /// up, as far as the user may have any.
    pub(in crate::stack::linux) fn takes(self, signal: i32) -> Result<(), NoStack> {
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
    /// Looks at the thread: the more often, the sooner it is seen. What it says of itself, if it runs
    /// and has run since it last slept.
    pub(super) fn goes_on(&mut self, thread: Thread) -> Option<Status> {
        self.look(|| on_cpu(thread), || Status::of(thread))
    }

    fn look(
        &mut self,
        on_cpu: impl Fn() -> Option<Duration>,
        status: impl Fn() -> Option<Status>,
    ) -> Option<Status> {
        let runs_for = on_cpu()?;
        // Last, so that the signal comes next.
        let now = status()?;
        match self.since {
            Some(since) if since.sleeps == now.sleeps => {
                let ran = runs_for.saturating_sub(since.on_cpu);
                (ran >= LEAVES_ANY_CALL).then_some(now)
            }
            _ => {
                // The time from before may be that of before the sleep.
                let on_cpu = on_cpu()?;
                self.since = Some(Look {
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
        let seen = tracker.look(|| Some(Duration::from_micros(on_cpu)), || Some(status));
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
        // It goes to sleep while it is looked at.
        let on_cpu = Cell::new(5_000);
        let read = || Some(Duration::from_micros(on_cpu.get()));
        let slept = || {
            on_cpu.set(8_000);
            Some(Status {
                sleeps: 8,
                ..STATUS
            })
        };
        assert_eq!(tracker.look(read, slept), None);
        assert!(!runs(&mut tracker, 8, 8_000));
    }

    #[test]
    fn what_is_not_counted_proves_nothing() {
        let mut tracker = OnCpuTracker::default();
        assert_eq!(tracker.look(|| None, || Some(STATUS)), None);
        assert_eq!(tracker.look(|| Some(Duration::MAX), || None), None);
        assert_eq!(Status::parse("Name:\tx\n"), None);
    }

    #[test]
    fn reads_what_is_told_of_signals_and_switches() {
        let text = "Name:\tSigBlk\nSigPnd:\t0000000000400000\nShdPnd:\t0000000000000200\n\
                    SigBlk:\t8000000000000000\nvoluntary_ctxt_switches:\t3\n\
                    nonvoluntary_ctxt_switches:\t4\n";
        let status = Status::parse(text).unwrap();
        assert_eq!(status.turns(), 7);
        assert_eq!(status.takes(64), Err(NoStack::SignalMasked));
        assert_eq!(status.takes(23), Err(NoStack::NoAnswer));
        for signal in [1, 10, 22, 24, 63] {
            assert_eq!(status.takes(signal), Ok(()));
        }
    }
}
