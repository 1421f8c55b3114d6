//! Why the watchdog was late: whether the whole process was paused. Not how late: `awake_clock.rs`.
//!
//! The evidence, the strongest first:
//!
//! 1. *The watchdog waited for a CPU* for most of the gap, by its own run-queue time. Either a quota
//!    throttled the process, and the control group counts that as a pause (`throttle.rs`). Or the host is
//!    crowded, which is no pause, as the other threads may have run.
//! 2. *The watchdog was on a CPU* for most of a pass that took too long: the process ran.
//! 3. *The watchdog needed a page of memory*, though it has touched all of its memory before. A `fork` shares each
//!    page with the child until the next write, and holds the memory map meanwhile, so no thread can write. That
//!    was it if nothing was read from a disk, and the process used the CPU as one thread does: for most of the gap
//!    more than it had used before, and not much longer than the gap. If not, the gap stays unexplained. The system
//!    may have taken a page back, also in a long pause, or may have marked it to see who uses it.
//! 4. *The watchdog could not run at all*: it neither ran nor waited for a CPU or a page, and it needs nothing
//!    else that the program can hold. So the whole process was stopped, held by a debugger or frozen, or the
//!    machine did not run.
//!
//! Where the system does not count these times, the gap stays unexplained.

use std::time::Duration;

use super::awake_clock::AwakeInstant;
use crate::procfs::{Faults, OwnFaults, ProcessTime, Schedule, Times};

/// What a gap was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The whole process did not run.
    Paused,
    /// The watchdog ran, or waited for a CPU.
    Crowded,
    /// A thread of the process ran, and all others were kept from writing to memory.
    HeldUp,
    /// There is no evidence.
    Unknown,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct GapEvidence {
    /// How long the gap was.
    pub(super) late: Duration,
    /// Whether the gap was in the middle of a pass, not of a sleep.
    pub(super) in_pass: bool,
    pub(super) spent: Option<Spent>,
}

/// What was spent in the gap, and in a short time before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    /// How long the watchdog was on a CPU.
    on_cpu: Duration,
    /// How long the watchdog waited for a CPU, in the gap alone and at least.
    waited: Duration,
    /// The pages of memory that the watchdog needed.
    faults: Faults,
    /// How long all threads of the process were on a CPU, beyond what they would have been without the gap.
    more_by_process: Duration,
}

/// The only place where a gap is judged.
pub(super) fn judge(evidence: GapEvidence) -> Gap {
    let most = evidence.late / 2;
    let Some(spent) = evidence.spent else {
        return Gap::Unknown;
    };
    if spent.waited >= most || (evidence.in_pass && spent.on_cpu >= most) {
        Gap::Crowded
    } else if spent.faults == (Faults { minor: 0, major: 0 }) {
        Gap::Paused
    } else if spent.faults.major == 0
        && spent.more_by_process >= most
        && spent.more_by_process <= evidence.late + most + ProcessTime::PRECISION
    {
        Gap::HeldUp
    } else {
        Gap::Unknown
    }
}

/// What the watchdog's thread and its process have spent.
#[derive(Debug)]
pub(super) struct Spending {
    schedule: Schedule,
    faults: OwnFaults,
    process: ProcessTime,
    last: Option<Total>,
    read_at: AwakeInstant,
    /// How much of the time between the last two readings the process was on a CPU: of one, or of several.
    rate: f64,
    /// By how much the watchdog had overslept when `last` was read.
    overslept: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Total {
    own: Times,
    faults: Faults,
    by_process: Duration,
}

impl Total {
    fn process_since(self, before: Total) -> Duration {
        self.by_process.saturating_sub(before.by_process)
    }
}

impl Spending {
    /// How often it is read while there is no gap. That takes some 10 us, and 30 us with a thousand threads.
    const INTERVAL: Duration = Duration::from_millis(100);

    /// Must be called on the watchdog's thread.
    pub(super) fn begin() -> Spending {
        let mut spending = Spending {
            schedule: Schedule::own(),
            faults: OwnFaults::open(),
            process: ProcessTime::open(),
            last: None,
            read_at: AwakeInstant::START,
            rate: 0.0,
            overslept: Duration::ZERO,
        };
        spending.last = spending.total();
        spending
    }

    /// Reads it if what was read last is old. `overslept`: by how much the watchdog has overslept so far.
    pub(super) fn refresh(&mut self, now: AwakeInstant, overslept: Duration) {
        if now.since(self.read_at) >= Spending::INTERVAL {
            self.read(now, overslept);
        }
    }

    /// What was spent in a gap that has just ended. A wait for a CPU before the gap shows as having overslept.
    pub(super) fn in_gap(
        &mut self,
        late: Duration,
        now: AwakeInstant,
        overslept: Duration,
    ) -> Option<Spent> {
        let (before, overslept_before) = (self.last, self.overslept);
        let usual = now.since(self.read_at).mul_f64(self.rate);
        self.read(now, overslept);
        let (before, last) = before.zip(self.last)?;
        let waited = last.own.waited.saturating_sub(before.own.waited);
        let overslept = overslept.saturating_sub(overslept_before);
        Some(Spent {
            on_cpu: last.own.on_cpu.saturating_sub(before.own.on_cpu),
            waited: waited_in_gap(waited, overslept, late),
            faults: Faults {
                minor: last.faults.minor.saturating_sub(before.faults.minor),
                major: last.faults.major.saturating_sub(before.faults.major),
            },
            more_by_process: last.process_since(before).saturating_sub(usual),
        })
    }

    fn read(&mut self, now: AwakeInstant, overslept: Duration) {
        let total = self.total();
        let passed = now.since(self.read_at).as_secs_f64();
        let used = self.last.zip(total).filter(|_| passed > 0.0);
        self.rate = used.map_or(0.0, |(before, last)| {
            last.process_since(before).as_secs_f64() / passed
        });
        self.last = total;
        self.read_at = now;
        self.overslept = overslept;
    }

    fn total(&self) -> Option<Total> {
        Some(Total {
            own: self.schedule.times()?,
            faults: self.faults.counts()?,
            by_process: self.process.on_cpu()?,
        })
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
        let in_sleep = |late, spent: Option<(u64, u64)>| GapEvidence {
            late: ms(late),
            in_pass: false,
            spent: spent.map(|(on_cpu, waited)| Spent {
                on_cpu: ms(on_cpu),
                waited: ms(waited),
                faults: Faults { minor: 0, major: 0 },
                more_by_process: ms(300),
            }),
        };
        let in_pass = |late, spent| GapEvidence {
            in_pass: true,
            ..in_sleep(late, spent)
        };
        let faulted = |evidence: GapEvidence, major, more_by_process| GapEvidence {
            spent: evidence.spent.map(|spent| Spent {
                faults: Faults { minor: 1, major },
                more_by_process: ms(more_by_process),
                ..spent
            }),
            ..evidence
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
            (
                "behind a fork",
                faulted(in_sleep(80, Some((0, 1))), 0, 60),
                Gap::HeldUp,
            ),
            (
                "behind a fork, in a pass",
                faulted(in_pass(300, Some((1, 1))), 0, 290),
                Gap::HeldUp,
            ),
            (
                "behind a fork, and crowded out",
                faulted(in_sleep(80, Some((0, 50))), 0, 60),
                Gap::Crowded,
            ),
            (
                "short of memory",
                faulted(in_sleep(80, Some((0, 1))), 1, 60),
                Gap::Unknown,
            ),
            (
                "stopped, and then a page was missing",
                faulted(in_sleep(300, Some((0, 1))), 0, 20),
                Gap::Unknown,
            ),
            (
                "the others ran on",
                faulted(in_sleep(80, Some((0, 1))), 0, 400),
                Gap::Unknown,
            ),
            (
                "frozen until its pages were taken",
                faulted(in_sleep(60_000, Some((0, 1))), 0, 200),
                Gap::Unknown,
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
