//! How much to refuse at which lag. A law is pure: it is handed the time that has passed and the lag.

mod balanced;
mod controlled_delay;
mod observation;
mod proportional;
#[cfg(test)]
mod tests;
mod threshold;

use std::time::Duration;

use crate::stream::Hysteresis;
use balanced::Balanced;
use controlled_delay::ControlledDelay;
pub(super) use observation::Observation;
use proportional::Proportional;
use threshold::Threshold;

/// How a [`Policy`](super::Policy) gets from lag to the share of requests to refuse.
///
/// | law | refuses | for |
/// |---|---|---|
/// | [`balanced`](Self::balanced) | just what is too much, by the growth of the lag | most services; the default |
/// | [`threshold`](Self::threshold) | everything, from one lag down to another | to stop optional work, to take a server out of rotation |
/// | [`proportional`](Self::proportional) | a share that grows with the average lag | who comes from `toobusy` |
/// | [`controlled_delay`](Self::controlled_delay) | step by step, if the lag never falls below the target | services whose lag has harmless peaks |
///
/// All of them refuse nothing before the lag has once reached their target, and refuse more at a longer lag.
/// They see each sample that the monitor takes; between samples, everything but a
/// [probe](super::Policy::PROBE_INTERVAL) is refused once the next sample is overdue by the law's limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law(Kind);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Balanced {
        target: Duration,
    },
    Threshold(Hysteresis),
    Proportional {
        target: Duration,
        half_life: Duration,
    },
    ControlledDelay {
        target: Duration,
        interval: Duration,
    },
}

impl Law {
    /// The default target of the [balanced](Self::balanced) law: 5 ms, CoDel's
    /// ([RFC 8289](https://www.rfc-editor.org/rfc/rfc8289), section 4.3).
    ///
    /// What is admitted waits about half of it, so an overload hardly shows in what is served. It is just above what
    /// a shared host may wake a thread late, and a single late sample refuses nothing.
    pub const DEFAULT_TARGET: Duration = Duration::from_millis(5);

    /// Refuses just what is too much. This is the default, with [`DEFAULT_TARGET`](Self::DEFAULT_TARGET).
    ///
    /// Once a sample reaches `target`, the law keeps the lag near half of it. The growth of the lag says how
    /// much too much arrives: if a share `a` of the requests is admitted, and the lag grows by `g` seconds per
    /// second, then the demand is `(1 + g) / a` times what the runtime can do. So it admits one in as many,
    /// a little less while the lag is above half of the target, a little more below. It stops refusing when the
    /// demand is below what the runtime can do.
    ///
    /// While it refuses, a sample of `target` or more has it first refuse everything, for 15 % of that lag, to work off
    /// what waits: on `multi_thread` more may wait in the workers' own queues than the lag shows.
    ///
    /// A request that takes longer in one poll than the target is lag, too: choose the target longer than your
    /// longest polls, or move them to `spawn_blocking`.
    #[must_use]
    pub fn balanced(target: Duration) -> Law {
        Law(Kind::Balanced { target })
    }

    /// Refuses everything from a sample of `raise_at` or more on, until one of `clear_at` or less.
    ///
    /// The queue is empty soon after, but the law learns that only from the next sample. So it wastes up to an
    /// interval of the monitor each time; use a short one.
    #[must_use]
    pub fn threshold(thresholds: Hysteresis) -> Law {
        Law(Kind::Threshold(thresholds))
    }

    /// Refuses the share `(average − target) / target`: nothing at `target`, all at twice the target.
    ///
    /// This is the law of Node's `toobusy`, on an average whose weights halve with every `half_life` instead of
    /// every sample. In balance the lag stays above the target, the more the higher the load.
    #[must_use]
    pub fn proportional(target: Duration, half_life: Duration) -> Law {
        Law(Kind::Proportional { target, half_life })
    }

    /// Refuses nothing while the lag falls below `target` at least once per `interval`, and then step by step
    /// more.
    ///
    /// This is CoDel, [RFC 8289](https://www.rfc-editor.org/rfc/rfc8289), with lag as the delay: a peak of the
    /// lag is a burst, which a queue is there for; only the smallest lag of an interval shows a queue that does
    /// not go away. Its steps follow at `interval / √n`, as there. A packet that is dropped slows its sender
    /// down, but a request that is refused slows nobody down. So a step refuses not one request, but a share:
    /// `1 − 1/√(n + 1)`, which is 29 % after the first step, and half after the third. A lag below the target
    /// ends it; an overload that returns within 16 intervals goes on two steps before. The RFC's values are
    /// 5 ms and 100 ms.
    #[must_use]
    pub fn controlled_delay(target: Duration, interval: Duration) -> Law {
        Law(Kind::ControlledDelay { target, interval })
    }

    /// Returns by how much a sample may be overdue until everything is refused.
    pub(super) fn limit(&self) -> Duration {
        match self.0 {
            Kind::Balanced { target } => target,
            Kind::Threshold(thresholds) => thresholds.raise_at(),
            Kind::Proportional { target, .. } => target.saturating_mul(2),
            Kind::ControlledDelay { target, interval } => target.saturating_add(interval),
        }
    }

    /// Returns what the law knows before the first sample.
    pub(super) fn begin(&self) -> LawState {
        match self.0 {
            Kind::Balanced { target } => LawState::Balanced(Balanced::new(target)),
            Kind::Threshold(thresholds) => LawState::Threshold(Threshold::new(thresholds)),
            Kind::Proportional { target, half_life } => {
                LawState::Proportional(Proportional::new(target, half_life))
            }
            Kind::ControlledDelay { target, interval } => {
                LawState::ControlledDelay(ControlledDelay::new(target, interval))
            }
        }
    }
}

impl Default for Law {
    fn default() -> Law {
        Law::balanced(Law::DEFAULT_TARGET)
    }
}

/// What a law knows.
#[derive(Debug)]
pub(super) enum LawState {
    Balanced(Balanced),
    Threshold(Threshold),
    Proportional(Proportional),
    ControlledDelay(ControlledDelay),
}

impl LawState {
    /// Returns for how long to refuse everything, so that what waits is worked off.
    pub(super) fn drain(&self) -> Duration {
        match self {
            LawState::Balanced(law) => law.drain(),
            _ => Duration::ZERO,
        }
    }

    /// Returns the share to refuse until the next sample, from 0 to 1.
    pub(super) fn update(&mut self, seen: Observation) -> f64 {
        let share = match self {
            LawState::Balanced(law) => law.update(seen),
            LawState::Threshold(law) => law.update(seen),
            LawState::Proportional(law) => law.update(seen),
            LawState::ControlledDelay(law) => law.update(seen),
        };
        share.clamp(0.0, 1.0)
    }
}
