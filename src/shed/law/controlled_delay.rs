//! CoDel, RFC 8289, with lag as the delay.

use std::time::Duration;

use super::observation::Observation;

/// An overload that returns within so many intervals continues where it was, as in the RFC.
const REMEMBERED: u32 = 16;

/// More steps than this make no difference: they refuse 99 %.
const MOST_STEPS: u32 = 10_000;

#[derive(Debug)]
pub(in crate::shed) struct ControlledDelay {
    target: Duration,
    interval: Duration,
    /// How long the lag has been at the target or above, if it is.
    above: Option<Duration>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Admitting {
        /// How many steps the last overload took, and how long it is over.
        last: (u32, Duration),
    },
    Refusing {
        steps: u32,
        /// The time until the next step.
        next: Duration,
    },
}

impl ControlledDelay {
    pub(super) fn new(target: Duration, interval: Duration) -> ControlledDelay {
        ControlledDelay {
            target,
            interval,
            above: None,
            phase: Phase::Admitting {
                last: (0, Duration::MAX),
            },
        }
    }

    pub(super) fn update(&mut self, seen: Observation) -> f64 {
        if seen.lag < self.target {
            self.admit(seen.elapsed);
            return 0.0;
        }
        let above = self.above.map(|above| above.saturating_add(seen.elapsed));
        self.above = Some(above.unwrap_or_default());
        let steps = self.refuse(seen.elapsed);
        1.0 - 1.0 / f64::from(steps.saturating_add(1)).sqrt()
    }

    /// The lag fell below the target.
    fn admit(&mut self, elapsed: Duration) {
        self.above = None;
        let last = match self.phase {
            Phase::Admitting { last: (steps, ago) } => (steps, ago.saturating_add(elapsed)),
            Phase::Refusing { steps, .. } => (steps, Duration::ZERO),
        };
        self.phase = Phase::Admitting { last };
    }

    /// The lag is at the target or above. Returns how many steps to refuse by.
    fn refuse(&mut self, elapsed: Duration) -> u32 {
        match &mut self.phase {
            Phase::Admitting { last: (_, ago) } if self.above < Some(self.interval) => {
                *ago = ago.saturating_add(elapsed);
                0
            }
            Phase::Admitting { last: (last, ago) } => {
                let recent = *ago < self.interval.saturating_mul(REMEMBERED);
                let steps = if recent {
                    last.saturating_sub(2).max(1)
                } else {
                    1
                };
                self.phase = Phase::Refusing {
                    steps,
                    next: after(self.interval, steps),
                };
                steps
            }
            Phase::Refusing { steps, next } => {
                let mut left = elapsed;
                while left >= *next && *steps < MOST_STEPS {
                    left -= *next;
                    *steps += 1;
                    *next = after(self.interval, *steps);
                }
                *next = next.saturating_sub(left);
                *steps
            }
        }
    }
}

/// Returns the time from one step to the next.
fn after(interval: Duration, steps: u32) -> Duration {
    let seconds = interval.as_secs_f64() / f64::from(steps).sqrt();
    // It fails for a rounded `Duration::MAX`.
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
