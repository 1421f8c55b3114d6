//! Time as far as the watchdog has been there to see it: pure reckoning.
//!
//! A process that is stopped, suspended, throttled or held by a debugger does not run, and neither
//! does its watchdog. By the wall it comes back to workers that seem to have been still for long. So
//! it reckons in credited time, in which a sleep counts for hardly more than was asked for. What is
//! not credited is a gap; `gap.rs` says what it was.

use std::time::{Duration, Instant};

/// Sleeping late by less is the system's everyday jitter.
const EVERYDAY_LATENESS: Duration = Duration::from_millis(20);

/// What a look at all workers may take, and be credited for.
const LONGEST_LOOK: Duration = Duration::from_millis(10);

/// No look takes this long: the process was paused in the middle of one.
const INTERRUPTED_LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct AwakeClock {
    now: Duration,
    /// How much has passed that was not credited.
    lost: Duration,
    /// By how much it overslept in all.
    overslept: Duration,
    last: Instant,
}

impl AwakeClock {
    pub(super) fn new(now: Instant) -> AwakeClock {
        AwakeClock {
            now: Duration::ZERO,
            lost: Duration::ZERO,
            overslept: Duration::ZERO,
            last: now,
        }
    }

    /// Credited time.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// How much time has passed that was not credited.
    pub(super) fn lost(&self) -> Duration {
        self.lost
    }

    /// By how much the watchdog has overslept in all.
    pub(super) fn overslept(&self) -> Duration {
        self.overslept
    }

    /// The watchdog has been awake until now. Returns by how long it was held up, if it was.
    #[must_use]
    pub(super) fn worked(&mut self, now: Instant) -> Option<Duration> {
        let awake = self.pass(now, LONGEST_LOOK);
        (awake > INTERRUPTED_LOOK).then(|| awake - LONGEST_LOOK)
    }

    /// The watchdog has slept until now, for `asked` if nothing woke it. Returns by how long it
    /// overslept, if that is more than jitter.
    #[must_use]
    pub(super) fn slept(&mut self, now: Instant, asked: Duration) -> Option<Duration> {
        let slept = self.pass(now, asked + asked.max(Duration::from_millis(2)));
        let late = slept.saturating_sub(asked);
        self.overslept += late;
        (late > EVERYDAY_LATENESS.max(asked * 4)).then_some(late)
    }

    fn pass(&mut self, now: Instant, most: Duration) -> Duration {
        let passed = now.saturating_duration_since(self.last);
        let credited = passed.min(most);
        self.now += credited;
        self.lost += passed - credited;
        self.last = now;
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const TICK: Duration = Duration::from_millis(5);

    #[test]
    fn a_pause_in_the_middle_of_a_look_is_one_too() {
        let began = clock::now();
        let mut credit = AwakeClock::new(began);
        assert_eq!(credit.worked(began + 20 * TICK), None);
        let paused = credit.worked(began + 80 * TICK);
        assert_eq!(paused, Some(60 * TICK - LONGEST_LOOK));
        assert_eq!(credit.now(), 2 * LONGEST_LOOK);
    }

    #[test]
    fn a_sleep_counts_for_hardly_more_than_was_asked_for() {
        let mut credit = AwakeClock::new(clock::now());
        let mut now = clock::now();
        for (slept, credited, pause) in [
            (3, 3, None),
            (5, 5, None),
            (9, 9, None),
            (25, 10, None),
            (26, 10, Some(21)),
            (300, 10, Some(295)),
        ] {
            let before = credit.now();
            assert_eq!(credit.worked(now), None);
            let (awake, lost) = (credit.now() - before, credit.lost());
            now += Duration::from_millis(slept);
            let told = credit.slept(now, TICK);
            assert_eq!(told, pause.map(Duration::from_millis), "{slept}");
            let counted = credit.now() - before - awake;
            assert!(counted <= Duration::from_millis(credited), "{slept}");
            assert_eq!(counted + credit.lost() - lost, Duration::from_millis(slept));
        }
    }

    #[test]
    fn time_awake_counts_within_bounds() {
        let began = clock::now();
        let mut credit = AwakeClock::new(began);
        assert_eq!(credit.worked(began + Duration::from_millis(2)), None);
        assert_eq!(credit.now(), Duration::from_millis(2));
        assert!(credit.worked(began + Duration::from_millis(500)).is_some());
        assert_eq!(credit.now(), Duration::from_millis(2) + LONGEST_LOOK);
    }
}
