//! Why the watchdog was late: a pause of the process, or not.
//!
//! The order of evidence, the strongest first:
//!
//! 1. *The watchdog waited for a CPU* for most of the gap, by its own run-queue time. Then a quota
//!    throttled the process, if the control group says so; that is a pause, counted from there (see
//!    `throttle.rs`). Or the host is crowded; that is none, as the other threads may have run.
//! 2. *The watchdog was on a CPU* for most of a look that took too long: the process ran.
//! 3. *The watchdog could not run at all*: it neither ran nor waited for a CPU, and it needs nothing
//!    that the program can hold. It was stopped, held by a debugger, frozen, or its machine did not
//!    run; so did the whole process, whatever a worker was in.
//!
//! Where the system does not count run-queue time, nothing is known.

use std::time::Duration;

use crate::procfs::{OwnSchedule, Times};

/// What a gap was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The whole process did not run.
    Paused,
    /// The watchdog ran, or waited for a CPU.
    Crowded,
    /// There is no evidence.
    Unknown,
}

/// What is known of a gap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// How long it was.
    pub(super) late: Duration,
    /// It was in the middle of a look.
    pub(super) in_look: bool,
    /// How long the watchdog has been on a CPU, and waited for one.
    pub(super) times: Option<(Duration, Duration)>,
}

/// The only place where a gap is judged.
pub(super) fn judge(known: Known) -> Gap {
    let most = known.late / 2;
    match known.times {
        None => Gap::Unknown,
        Some((_, waited)) if waited >= most => Gap::Crowded,
        Some((on_cpu, _)) if known.in_look && on_cpu >= most => Gap::Crowded,
        Some(_) => Gap::Paused,
    }
}

/// The watchdog's own times, read now and then.
#[derive(Debug)]
pub(super) struct OwnTimes {
    source: OwnSchedule,
    last: Option<Times>,
    read_at: Duration,
    /// By how much the watchdog had overslept by then.
    overslept: Duration,
}

impl OwnTimes {
    /// How often they are read when there is no gap.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Those of the calling thread, which is the watchdog's.
    pub(super) fn begin() -> OwnTimes {
        let source = OwnSchedule::open();
        OwnTimes {
            last: source.times(),
            source,
            read_at: Duration::ZERO,
            overslept: Duration::ZERO,
        }
    }

    /// Reads them if they are old. `overslept`: by how much the watchdog has overslept so far.
    pub(super) fn keep(&mut self, now: Duration, overslept: Duration) {
        if now.saturating_sub(self.read_at) >= OwnTimes::INTERVAL {
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
    ) -> Option<(Duration, Duration)> {
        let (before, overslept_before) = (self.last, self.overslept);
        self.read(now, overslept);
        let (before, last) = before.zip(self.last)?;
        let waited = last.waited.saturating_sub(before.waited);
        let overslept = overslept.saturating_sub(overslept_before);
        Some((
            last.on_cpu.saturating_sub(before.on_cpu),
            waited_in_gap(waited, overslept, late),
        ))
    }

    fn read(&mut self, now: Duration, overslept: Duration) {
        self.last = self.source.times();
        self.read_at = now;
        self.overslept = overslept;
    }
}

/// Of what was waited for a CPU, at least this was in the gap: the rest is what was overslept before.
fn waited_in_gap(waited: Duration, overslept: Duration, late: Duration) -> Duration {
    waited.saturating_sub(overslept.saturating_sub(late))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn each_case_is_what_the_strongest_evidence_says() {
        let in_sleep = |late, times: Option<(u64, u64)>| Known {
            late: ms(late),
            in_look: false,
            times: times.map(|(on_cpu, waited)| (ms(on_cpu), ms(waited))),
        };
        let in_look = |late, times| Known {
            in_look: true,
            ..in_sleep(late, times)
        };
        for (case, known, expected) in [
            ("stopped", in_sleep(300, Some((0, 0))), Gap::Paused),
            ("traced", in_look(300, Some((0, 1))), Gap::Paused),
            ("suspended", in_sleep(60_000, Some((1, 2))), Gap::Paused),
            (
                "stopped, after much work",
                in_sleep(100, Some((70, 2))),
                Gap::Paused,
            ),
            ("throttled", in_sleep(70, Some((0, 68))), Gap::Crowded),
            ("crowded out", in_sleep(45, Some((0, 40))), Gap::Crowded),
            (
                "crowded out, then stopped",
                in_sleep(300, Some((0, 160))),
                Gap::Crowded,
            ),
            (
                "stopped, then crowded out",
                in_sleep(300, Some((0, 60))),
                Gap::Paused,
            ),
            (
                "a look at very many",
                in_look(120, Some((110, 0))),
                Gap::Crowded,
            ),
            (
                "no run-queue time to be had",
                in_sleep(300, None),
                Gap::Unknown,
            ),
        ] {
            assert_eq!(judge(known), expected, "{case}");
        }
    }

    #[test]
    fn what_was_waited_before_the_gap_does_not_count() {
        // 345 ms overslept in all, 300 of them in the gap.
        for (waited, in_gap) in [(50, 5), (40, 0), (345, 300)] {
            assert_eq!(waited_in_gap(ms(waited), ms(345), ms(300)), ms(in_gap));
        }
    }
}
