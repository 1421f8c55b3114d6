//! Why the watchdog was late: a pause of the process, or not.
//!
//! The order of evidence, the strongest first:
//!
//! 1. *A worker ran.* Its thread was seen on a CPU, or its own busy time came to an end within the gap
//!    more often than a process that was stopped can have: the process was not paused.
//! 2. *The watchdog waited for a CPU* for most of the gap, by its own run-queue time. Then a quota
//!    throttled the process, if the control group says so; that is a pause, counted from there (see
//!    `throttle.rs`). Or the host is crowded; that is none, as its other threads may have run.
//! 3. *The watchdog could not run at all*: it neither ran nor waited for a CPU, and it needs nothing
//!    that the program can hold. It was stopped, held by a debugger, frozen, or its machine did not
//!    run; so did the whole process.
//!
//! Where the system does not count run-queue time, only the first and the last can be told apart.

use std::time::Duration;

use crate::procfs::{self, Times};

/// What a gap was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The whole process did not run.
    Paused,
    /// The watchdog waited for a CPU.
    Crowded,
    /// The process ran, and the watchdog did not.
    HeldUp,
}

/// What is known of a gap.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// How long it was.
    pub(super) late: Duration,
    /// How often workers have parked or come back since the look before. Whatever is released at the
    /// end of a pause does so once or twice before the watchdog looks.
    pub(super) parks: u64,
    /// How long the watchdog has waited for a CPU.
    pub(super) waited: Option<Duration>,
    /// How long the watchdog has been on one.
    pub(super) on_cpu: Duration,
}

/// The only place where a gap is judged.
pub(super) fn judge(known: Known) -> Gap {
    // One in a millisecond is more than the few that a release brings, and less than a service does.
    let most_at_release = 8;
    let busy_program = known.late.as_millis() / 4;
    if known.parks > most_at_release && u128::from(known.parks) >= busy_program {
        return Gap::HeldUp;
    }
    match known.waited {
        Some(waited) if waited >= known.late / 2 => Gap::Crowded,
        _ if known.on_cpu >= known.late / 2 => Gap::Crowded,
        _ => Gap::Paused,
    }
}

/// The watchdog's own times, read now and then.
#[derive(Debug, Default)]
pub(super) struct OwnTimes {
    last: Option<Times>,
    read_at: Duration,
    /// By how much the watchdog had overslept by then.
    overslept: Duration,
}

impl OwnTimes {
    /// How often they are read when there is no gap.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Reads them if they are old. `overslept`: by how much the watchdog has overslept so far.
    pub(super) fn keep(&mut self, now: Duration, overslept: Duration) {
        if self.last.is_none() || now.saturating_sub(self.read_at) >= OwnTimes::INTERVAL {
            self.read(now, overslept);
        }
    }

    /// For how long the watchdog has been on a CPU, and has at least waited for one in a gap that has
    /// just ended. What it waited before shows as having overslept.
    pub(super) fn in_gap(
        &mut self,
        late: Duration,
        now: Duration,
        overslept: Duration,
    ) -> (Duration, Option<Duration>) {
        let before = (self.last, self.overslept);
        self.read(now, overslept);
        match (before, self.last) {
            ((Some(before), overslept_before), Some(last)) => {
                let waited = last.waited.saturating_sub(before.waited);
                let earlier = overslept
                    .saturating_sub(overslept_before)
                    .saturating_sub(late);
                (
                    last.on_cpu.saturating_sub(before.on_cpu),
                    Some(waited.saturating_sub(earlier)),
                )
            }
            _ => (Duration::ZERO, None),
        }
    }

    fn read(&mut self, now: Duration, overslept: Duration) {
        self.last = procfs::own_times();
        self.read_at = now;
        self.overslept = overslept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn each_case_is_what_the_strongest_evidence_says() {
        let gap = |late, parks, waited: Option<u64>, on_cpu| Known {
            late: ms(late),
            parks,
            waited: waited.map(ms),
            on_cpu: ms(on_cpu),
        };
        for (case, known, expected) in [
            ("stopped", gap(300, 0, Some(0), 0), Gap::Paused),
            (
                "traced, and released a moment ago",
                gap(300, 4, Some(1), 0),
                Gap::Paused,
            ),
            ("suspended", gap(60_000, 6, Some(2), 1), Gap::Paused),
            (
                "stopped, in a busy program",
                gap(300, 8, Some(2), 0),
                Gap::Paused,
            ),
            ("throttled", gap(70, 0, Some(68), 0), Gap::Crowded),
            ("crowded out", gap(45, 3, Some(40), 0), Gap::Crowded),
            (
                "crowded out, and stopped",
                gap(300, 2, Some(160), 0),
                Gap::Crowded,
            ),
            (
                "stopped, and crowded out",
                gap(300, 2, Some(60), 0),
                Gap::Paused,
            ),
            ("ran itself", gap(300, 2, Some(0), 290), Gap::Crowded),
            (
                "held up while the program ran",
                gap(180, 400, Some(0), 0),
                Gap::HeldUp,
            ),
            (
                "crowded out while the program ran",
                gap(45, 40, Some(40), 0),
                Gap::HeldUp,
            ),
            (
                "no run-queue time to be had",
                gap(300, 0, None, 0),
                Gap::Paused,
            ),
        ] {
            assert_eq!(judge(known), expected, "{case}");
        }
    }
}
