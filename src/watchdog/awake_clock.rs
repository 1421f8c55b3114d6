//! A clock that runs only while the watchdog can watch. Pure: the system's time is passed in.
//!
//! A process that is stopped, suspended, throttled or held by a debugger does not run, and neither does
//! its watchdog. Afterwards every worker seems to have been stuck for as long. So the watchdog measures
//! stalls in awake time, in which a sleep counts for little more than was asked for. Time that does not
//! count is a gap; `gap.rs` finds out what it was.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// A sleep that is late by less is everyday jitter of the system.
pub(super) const EVERYDAY_LATENESS: Duration = Duration::from_millis(20);

/// A sleep may be late in proportion to its length, but not for more than this length.
const LONGEST_MEASURE: Duration = Duration::from_millis(20);

/// How much of one pass over all workers counts as awake time.
const LONGEST_PASS: Duration = Duration::from_millis(10);

/// No pass takes this long: the process was paused in the middle of it.
const INTERRUPTED_PASS: Duration = Duration::from_millis(100);

/// A point of awake time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AwakeInstant(Duration);

impl AwakeInstant {
    /// When the watchdog started.
    pub(super) const START: AwakeInstant = AwakeInstant(Duration::ZERO);

    /// Zero if `earlier` is later.
    pub(super) fn since(self, earlier: AwakeInstant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for AwakeInstant {
    type Output = AwakeInstant;

    fn add(self, span: Duration) -> AwakeInstant {
        AwakeInstant(self.0.saturating_add(span))
    }
}

impl Sub<Duration> for AwakeInstant {
    type Output = AwakeInstant;

    fn sub(self, span: Duration) -> AwakeInstant {
        AwakeInstant(self.0.saturating_sub(span))
    }
}

/// What the clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AwakeTime {
    pub(super) now: AwakeInstant,
    /// How much of the system's time has not counted so far.
    pub(super) lost: Duration,
    /// How much of the time that has counted no thread but one could write to memory.
    pub(super) held_up: Duration,
}

impl AwakeTime {
    /// When the watchdog started.
    pub(super) const START: AwakeTime = AwakeTime {
        now: AwakeInstant::START,
        lost: Duration::ZERO,
        held_up: Duration::ZERO,
    };

    /// The system's time since then.
    pub(super) fn since(self, earlier: AwakeTime) -> Duration {
        self.now.since(earlier.now) + self.lost.saturating_sub(earlier.lost)
    }

    /// How much of the time since then was held up.
    pub(super) fn held_up_since(self, earlier: AwakeTime) -> Duration {
        self.held_up.saturating_sub(earlier.held_up)
    }
}

#[derive(Debug)]
pub(super) struct AwakeClock {
    time: AwakeTime,
    /// By how much all sleeps together were late.
    overslept: Duration,
    last: Instant,
}

impl AwakeClock {
    pub(super) fn new(now: Instant) -> AwakeClock {
        AwakeClock {
            time: AwakeTime::START,
            overslept: Duration::ZERO,
            last: now,
        }
    }

    pub(super) fn time(&self) -> AwakeTime {
        self.time
    }

    /// By how much all sleeps together were late.
    pub(super) fn overslept(&self) -> Duration {
        self.overslept
    }

    /// The watchdog has worked until `now`. Returns how long it was interrupted, if it was.
    #[must_use]
    pub(super) fn worked(&mut self, now: Instant) -> Option<Duration> {
        let awake = self.pass(now, LONGEST_PASS);
        (awake > INTERRUPTED_PASS).then(|| awake - LONGEST_PASS)
    }

    /// The watchdog has slept until `now`, for `asked` if nothing woke it. Returns by how much it
    /// overslept, if that is more than jitter.
    #[must_use]
    pub(super) fn slept(&mut self, now: Instant, asked: Duration) -> Option<Duration> {
        let measure = asked.min(LONGEST_MEASURE);
        let slept = self.pass(now, asked + measure.max(Duration::from_millis(2)));
        let late = slept.saturating_sub(asked);
        self.overslept += late;
        (late > EVERYDAY_LATENESS.max(measure * 4)).then_some(late)
    }

    /// Counts time after all that was lost just now: a thread of the process ran, and held up the others.
    pub(super) fn held_up(&mut self, lost: Duration) {
        self.time.now = self.time.now + lost;
        self.time.lost -= lost;
        self.time.held_up += lost;
    }

    /// Counts the time since the last call, `most` at the most.
    fn pass(&mut self, now: Instant, most: Duration) -> Duration {
        let passed = now.saturating_duration_since(self.last);
        let counted = passed.min(most);
        self.time.now = self.time.now + counted;
        self.time.lost += passed - counted;
        self.last = now;
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const TICK: Duration = Duration::from_millis(5);

    fn awake_for(clock: &AwakeClock) -> Duration {
        clock.time().now.since(AwakeInstant::START)
    }

    #[test]
    fn a_pause_in_the_middle_of_a_pass_is_one_too() {
        let began = clock::now();
        let mut awake = AwakeClock::new(began);
        assert_eq!(awake.worked(began + 20 * TICK), None);
        let paused = awake.worked(began + 80 * TICK);
        assert_eq!(paused, Some(60 * TICK - LONGEST_PASS));
        assert_eq!(awake_for(&awake), 2 * LONGEST_PASS);
    }

    #[test]
    fn a_sleep_counts_for_hardly_more_than_was_asked_for() {
        let mut awake = AwakeClock::new(clock::now());
        let mut now = clock::now();
        for (slept, most, pause) in [
            (3, 3, None),
            (5, 5, None),
            (9, 9, None),
            (25, 10, None),
            (26, 10, Some(21)),
            (300, 10, Some(295)),
        ] {
            assert_eq!(awake.worked(now), None);
            let before = awake.time();
            now += Duration::from_millis(slept);
            let late = awake.slept(now, TICK);
            assert_eq!(late, pause.map(Duration::from_millis), "{slept}");
            let after = awake.time();
            let counted = after.now.since(before.now);
            assert!(counted <= Duration::from_millis(most), "{slept}");
            let lost = after.lost - before.lost;
            assert_eq!(counted + lost, Duration::from_millis(slept));
        }
    }

    #[test]
    fn a_time_in_which_the_process_ran_counts() {
        let began = clock::now();
        let mut awake = AwakeClock::new(began);
        assert!(awake.slept(began + 60 * TICK, TICK).is_some());
        let lost = awake.time().lost;
        awake.held_up(lost);
        assert_eq!(awake_for(&awake), 60 * TICK);
        assert_eq!(
            (awake.time().lost, awake.time().held_up),
            (Duration::ZERO, lost)
        );
    }

    #[test]
    fn a_long_sleep_is_no_less_exact() {
        let mut now = clock::now();
        let mut awake = AwakeClock::new(now);
        let asked = Duration::from_millis(100);
        for (late, counted, pause) in [(15, 115, false), (80, 120, false), (81, 120, true)] {
            let before = awake_for(&awake);
            now += asked + Duration::from_millis(late);
            assert_eq!(awake.slept(now, asked).is_some(), pause, "{late}");
            assert_eq!(awake_for(&awake) - before, Duration::from_millis(counted));
        }
    }

    #[test]
    fn time_awake_counts_within_bounds() {
        let began = clock::now();
        let mut awake = AwakeClock::new(began);
        assert_eq!(awake.worked(began + Duration::from_millis(2)), None);
        assert_eq!(awake_for(&awake), Duration::from_millis(2));
        assert!(awake.worked(began + Duration::from_millis(500)).is_some());
        assert_eq!(awake_for(&awake), Duration::from_millis(2) + LONGEST_PASS);
    }
}
