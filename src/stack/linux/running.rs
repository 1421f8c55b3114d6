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

/// More than it takes to leave a call whose time is over. The kernel brings the time on a CPU up to
/// date every 1 to 10 ms.
const LEAVES_ANY_CALL: Duration = Duration::from_millis(1);

/// What a thread has been seen to do.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The first look since it was last known to sleep.
    since: Option<Look>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// How often it has gone to sleep in its life.
    sleeps: u64,
    on_cpu: Duration,
}

impl Run {
    /// Looks at the thread: the more often, the sooner it is seen. Whether it runs, and has run since
    /// it last slept.
    pub(super) fn goes_on(&mut self, thread: Thread) -> bool {
        self.look(|| on_cpu(thread), || sleeps(thread))
            .unwrap_or(false)
    }

    /// `None` where the kernel does not count it.
    fn look(
        &mut self,
        on_cpu: impl Fn() -> Option<Duration>,
        sleeps: impl Fn() -> Option<u64>,
    ) -> Option<bool> {
        let runs_for = on_cpu()?;
        // Last, so that the signal comes next.
        let now = sleeps()?;
        match self.since {
            Some(since) if since.sleeps == now => {
                Some(runs_for.saturating_sub(since.on_cpu) >= LEAVES_ANY_CALL)
            }
            _ => {
                // The time from before may be that of before the sleep.
                let on_cpu = on_cpu()?;
                self.since = Some(Look {
                    sleeps: now,
                    on_cpu,
                });
                Some(false)
            }
        }
    }
}

fn on_cpu(thread: Thread) -> Option<Duration> {
    thread.times().map(|times| times.on_cpu)
}

fn sleeps(thread: Thread) -> Option<u64> {
    count(&thread.read("status").ok()?, "voluntary_ctxt_switches:")
}

/// A line of many.
pub(super) fn count(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn look(run: &mut Run, sleeps: u64, on_cpu: u64) -> Option<bool> {
        run.look(|| Some(Duration::from_micros(on_cpu)), || Some(sleeps))
    }

    #[test]
    fn a_thread_runs_if_it_has_used_the_cpu_and_has_not_slept() {
        let mut run = Run::default();
        for (sleeps, on_cpu, runs) in [
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
            let seen = look(&mut run, sleeps, on_cpu);
            assert_eq!(seen, Some(runs), "{sleeps} {on_cpu}");
        }
    }

    #[test]
    fn what_it_ran_before_it_slept_does_not_count() {
        let mut run = Run::default();
        look(&mut run, 7, 0);
        // It goes to sleep while it is looked at.
        let on_cpu = Cell::new(5_000);
        let read = || Some(Duration::from_micros(on_cpu.get()));
        let slept = || {
            on_cpu.set(8_000);
            Some(8)
        };
        assert_eq!(run.look(read, slept), Some(false));
        assert_eq!(look(&mut run, 8, 8_000), Some(false));
    }

    #[test]
    fn what_is_not_counted_proves_nothing() {
        let mut run = Run::default();
        assert_eq!(run.look(|| None, || Some(1)), None);
        assert_eq!(run.look(|| Some(Duration::MAX), || None), None);
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(count(status, "voluntary_ctxt_switches:"), Some(3));
        assert_eq!(count(status, "nonvoluntary_ctxt_switches:"), Some(4));
        assert_eq!(count("Name:\tx\n", "voluntary_ctxt_switches:"), None);
    }
}
