//! Why the watchdog was late: whether the whole process was paused. Not how late: `awake_clock.rs`.
//!
//! The evidence, the strongest first:
//!
//! 1. *The watchdog waited for a CPU* for most of the gap, by its own run-queue time. Either a quota
//!    throttled the process, and the control group counts that as a pause (`throttle.rs`). Or the host is
//!    crowded, which is no pause, as the other threads may have run.
//! 2. *The watchdog was on a CPU* for most of a pass that took too long: the process ran.
//! 3. *The watchdog could not run at all*: it neither ran nor waited for a CPU, and it needs nothing
//!    that the program can hold. So the whole process was stopped, held by a debugger or frozen, or the
//!    machine did not run.
//!
//! Where the system does not count run-queue time, the gap stays unexplained.

use std::time::Duration;

use super::awake_clock::AwakeInstant;
use crate::procfs::{Schedule, Times};

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

#[derive(Debug, Clone, Copy)]
pub(super) struct GapEvidence {
    /// How long the gap was.
    pub(super) late: Duration,
    /// Whether the gap was in the middle of a pass, not of a sleep.
    pub(super) in_pass: bool,
    /// How long the watchdog was on a CPU, and how long it waited for one.
    pub(super) times: Option<(Duration, Duration)>,
}

/// The only place where a gap is judged.
pub(super) fn judge(evidence: GapEvidence) -> Gap {
    let most = evidence.late / 2;
    match evidence.times {
        None => Gap::Unknown,
        Some((_, waited)) if waited >= most => Gap::Crowded,
        Some((on_cpu, _)) if evidence.in_pass && on_cpu >= most => Gap::Crowded,
        Some(_) => Gap::Paused,
    }
}

/// The CPU times of the watchdog's thread.
#[derive(Debug)]
pub(super) struct OwnTimes {
    source: Schedule,
    last: Option<Times>,
    read_at: AwakeInstant,
    /// By how much the watchdog had overslept when `last` was read.
    overslept: Duration,
}

impl OwnTimes {
    /// How often the times are read while there is no gap.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Must be called on the watchdog's thread.
    pub(super) fn begin() -> OwnTimes {
        let source = Schedule::own();
        OwnTimes {
            last: source.times(),
            source,
            read_at: AwakeInstant::START,
            overslept: Duration::ZERO,
        }
    }

    /// Reads the times if they are old. `overslept`: by how much the watchdog has overslept so far.
    pub(super) fn refresh(&mut self, now: AwakeInstant, overslept: Duration) {
        if now.since(self.read_at) >= OwnTimes::INTERVAL {
            self.read(now, overslept);
        }
    }

    /// How long the watchdog was on a CPU, and at least how long it waited for one, in a gap that has
    /// just ended. A wait before the gap shows as having overslept.
    pub(super) fn in_gap(
        &mut self,
        late: Duration,
        now: AwakeInstant,
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

    fn read(&mut self, now: AwakeInstant, overslept: Duration) {
        self.last = self.source.times();
        self.read_at = now;
        self.overslept = overslept;
    }
}

/// At least this part of a wait for a CPU was in the gap: the rest made the watchdog oversleep before.
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
        let in_sleep = |late, times: Option<(u64, u64)>| GapEvidence {
            late: ms(late),
            in_pass: false,
            times: times.map(|(on_cpu, waited)| (ms(on_cpu), ms(waited))),
        };
        let in_pass = |late, times| GapEvidence {
            in_pass: true,
            ..in_sleep(late, times)
        };
        for (case, evidence, expected) in [
            ("stopped", in_sleep(300, Some((0, 0))), Gap::Paused),
            ("traced", in_pass(300, Some((0, 1))), Gap::Paused),
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
                "a pass over very many",
                in_pass(120, Some((110, 0))),
                Gap::Crowded,
            ),
            ("no run-queue time", in_sleep(300, None), Gap::Unknown),
        ] {
            assert_eq!(judge(evidence), expected, "{case}");
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
