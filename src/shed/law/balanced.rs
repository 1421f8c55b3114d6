//! Admits as much as the runtime can do, by the growth of the lag.

use std::time::Duration;

use super::observation::Observation;

/// How fast the estimate of the demand follows what is measured, in seconds. Requests arrive unevenly, so a single
/// interval of the monitor says little.
const MEMORY: f64 = 0.1;

/// The estimate of the demand is at most so many times what the runtime can do. More is not told apart.
const MOST_DEMAND: f64 = 16.0;

/// One sample shows at most so many times the demand that was known: after a block the lag has grown, and what came
/// meanwhile was refused, so the sample would show a demand that takes long to forget.
const MOST_GROWTH: f64 = 1.5;

/// A smaller share than this that was admitted says nothing of the demand.
const LEAST_ADMITTED: f64 = 0.05;

/// A lag of the target or more is worked off by refusing everything for this share of it: to refuse a request
/// takes at most so much of what it takes to serve it, if it is worth while to refuse it at all.
const DRAIN: f64 = 0.15;

#[derive(Debug)]
pub(in crate::shed) struct Balanced {
    /// In seconds, as everything here.
    target: f64,
    lag: f64,
    /// How many times what the runtime can do arrives, on an average that begins at zero: a single late sample
    /// is not an overload yet.
    demand: f64,
    overloaded: bool,
    refuses: bool,
}

impl Balanced {
    pub(super) fn new(target: Duration) -> Balanced {
        Balanced {
            target: target.as_secs_f64(),
            lag: 0.0,
            demand: 0.0,
            overloaded: false,
            refuses: false,
        }
    }

    /// Returns for how long to refuse everything after the last sample.
    ///
    /// The workers of a `multi_thread` runtime look after timers every 61 polls, and then run the sampler first.
    /// So its lag does not grow with their own queues, and without this the law would keep those long.
    pub(super) fn drain(&self) -> Duration {
        if self.lag < self.target || !self.refuses {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(self.lag * DRAIN).unwrap_or(Duration::MAX)
    }

    pub(super) fn update(&mut self, seen: Observation) -> f64 {
        let share = self.share(seen);
        self.refuses = share > 0.0;
        share
    }

    fn share(&mut self, seen: Observation) -> f64 {
        let lag = seen.lag.as_secs_f64();
        let elapsed = seen.elapsed.as_secs_f64().max(1e-6);
        let before = std::mem::replace(&mut self.lag, lag);
        let aim = self.target / 2.0;

        let kept = (-elapsed / MEMORY).exp();
        if lag.max(before) > aim / 2.0 {
            let admitted = seen.admitted.max(LEAST_ADMITTED);
            let growth = (lag - before) / elapsed;
            let most = (self.demand.max(1.0) * MOST_GROWTH).min(MOST_DEMAND);
            let demand = ((1.0 + growth) / admitted).clamp(0.0, most);
            self.demand = kept * self.demand + (1.0 - kept) * demand;
        } else {
            // Without a queue the growth says nothing, but less arrives than the runtime can do.
            self.demand *= kept;
        }

        self.overloaded |= lag >= self.target;
        if !self.overloaded {
            return 0.0;
        }
        // What to do until the next sample, so that the lag is then where it should be.
        let wanted = 1.0 - (lag - aim) / elapsed.max(aim);
        self.overloaded = lag >= self.target || wanted < self.demand;
        if wanted <= 0.0 {
            return 1.0;
        }
        // Negative if even more may be admitted; minus infinity if nothing arrives.
        1.0 - wanted / self.demand
    }
}
